"""`import handbone` is at the top of every stage's imports, so it must import nothing but the standard library."""

import subprocess
import sys


def test_importing_the_package_imports_no_library() -> None:
    code = "import sys; before = set(sys.modules); import handbone; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if name.startswith("handbone")] == ["handbone"]
    assert not {"torch", "numpy", "pandas", "pydantic", "cv2"} & set(loaded)
