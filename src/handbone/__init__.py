"""From raw images to a submission that can be trusted: the library behind the stages of the graph."""
