"""Machine code that was kept belongs to the sources that are there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from handbone import compiled

INNER = "from handbone.masks.kernels import kernel\n\n\n@kernel\ndef step(value: int) -> int:\n    return value + {}\n"
OUTER = (
    "from handbone.masks.kernels import kernel\nfrom handbone.inner import step\n\n\n@kernel\ndef twice(value: int) -> int:\n"
    "    return step(step(value))\n"
)


def twice(folder: Path) -> str:
    """What a process of its own prints for `twice(0)`."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", "from handbone.outer import twice; print(twice(0))"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_kernel_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path: Path) -> None:
    package = tmp_path / "handbone"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(Path(compiled.__file__), package / "compiled.py")
    (package / "outer.py").write_text(OUTER)
    (package / "inner.py").write_text(INNER.format(1))
    assert twice(tmp_path) == "2"
    kept = set(package.rglob("*.nbc"))
    assert kept and twice(tmp_path) == "2" and set(package.rglob("*.nbc")) == kept
    (package / "inner.py").write_text(INNER.format(10))
    assert twice(tmp_path) == "20"
