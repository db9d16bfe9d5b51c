"""One script per stage of the graph, run as `python -m stages.<name>` from the repository's root.

A stage runs the code of the checkout that it is in, also in the copy that `dvc exp run --temp` makes, even if another one is installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
