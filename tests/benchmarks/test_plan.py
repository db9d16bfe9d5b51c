"""What a plan estimates for an H100 is what was measured on one."""

import pytest
from benchmarks.plan import rows


def test_estimates_are_near_the_measurements() -> None:
    for name, estimated, measured in rows():
        assert estimated == pytest.approx(measured, rel=0.03 if "memory" in name else 0.1), name
