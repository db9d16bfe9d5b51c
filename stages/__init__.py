"""One script a node of the graph, run as `python -m stages.<name>` from the repository's root.

A stage runs the code of the checkout it lies in, also in the copy that `dvc exp run --temp` makes, whatever is installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
