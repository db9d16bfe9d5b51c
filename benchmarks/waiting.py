"""`python -m benchmarks.waiting`: seconds of a training's trial runs while other trainings start on the same cores -> a table.

It is measured for OpenMP's ways of waiting: threads that spin, as they do by default, threads that sleep, and one thread only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from time import monotonic

from handbone.utils.parallel import usable_cores

MOST_S = 60.0
PROCESSES = (1, 4)
WAYS: Mapping[str, Mapping[str, str]] = {
    "threads that spin": {},
    "threads that sleep (`OMP_WAIT_POLICY=PASSIVE`)": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
TRIAL = """
from time import perf_counter
from handbone.cli.preset import PRESETS, preset_params
from handbone.models.contract import check_contract
from handbone.models.registry import build_model, spec_from_params
params = preset_params("gpu24", PRESETS)
spec = spec_from_params(params.model, params.data.classes)
model = build_model(spec)
start = perf_counter()
check_contract(model, spec, params.train.size)
print(perf_counter() - start)
"""


def main() -> None:
    """Measure each way with one and with four processes."""
    print(f"| {usable_cores()} cores | " + " | ".join(f"{count} process{'es' if count > 1 else ''}" for count in PROCESSES) + " |")
    print("|---|" + "---:|" * len(PROCESSES))
    for way, variables in WAYS.items():
        print(f"| {way} | " + " | ".join(_slowest(count, variables) for count in PROCESSES) + " |", flush=True)


def _slowest(count: int, variables: Mapping[str, str]) -> str:
    """The seconds of the slowest of `count` processes; they are killed `MOST_S` after their start."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))} | dict(variables)
    end = monotonic() + MOST_S
    processes = [subprocess.Popen([sys.executable, "-c", TRIAL], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        printed = [process.communicate(timeout=max(0.1, end - monotonic()))[0] for process in processes]
    except subprocess.TimeoutExpired:
        return f"not within {MOST_S:.0f} s, imports included"
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return f"{max(map(float, printed)):.1f} s"


if __name__ == "__main__":
    main()
