"""One script per stage of the graph, run as `python -m stages.<name>` from the repository's root.

A stage runs the code of the checkout that it is in, also in the copy that `dvc exp run --temp` makes, even if another one is installed.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

# `python -m` imports this file first: while a stage imports its libraries, Ctrl-C ends it without a traceback; then run_cli handles it
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# before torch reads it: OpenMP's threads would spin while they wait for each other, and a second program on the same cores would make each
# of thousands of short waits last milliseconds; the number of threads, and so every bit, stays the same
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parent.parent  # has dvc.yaml, also if the stage runs in another folder
sys.path.insert(0, str(ROOT / "src"))

# before seconds of other imports: who started this process, to end with it
import handbone.utils.ending  # noqa: E402, F401


def run_stage(main: Callable[[], None]) -> None:
    """`run_cli(main)` for the script that was called, whose seconds are noted for the page."""
    from handbone.utils.durations import timed
    from handbone.utils.errors import run_cli

    run_cli(timed(main, sys.argv[0], sys.argv[1:]))
