"""What `python -m stages.<name>` does before the stage itself."""

import os
import subprocess
import sys

import pytest

from imports import ROOT

CODE = "import sys, stages; assert 'torch' not in sys.modules; import os; print(os.environ['OMP_WAIT_POLICY'])"


@pytest.mark.parametrize(("given", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_leave_their_core_to_others(given: str | None, used: str) -> None:
    """OpenMP reads the variable when torch is loaded; a value of the user is kept."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == used
