"""params.yaml as typed sections, and the paths of the graph."""
