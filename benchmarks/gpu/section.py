"""The process of one section: `python -m benchmarks.gpu.section JSON`, started by `runner`."""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup


def main() -> None:
    """Run the section and end at once: at a normal exit Python would wait for loaders, which ignore SIGTERM."""
    setup = Setup(**json.loads(sys.argv[1]))
    module, _, name = setup.function.partition(":")
    code = 0
    try:
        getattr(import_module(module), name)(Record(Path(setup.file)), setup)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
