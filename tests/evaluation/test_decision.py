"""One decision for validation and submission: how it is stored and what it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from handbone.evaluation.decision import Decision, decide, decided_counts
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks

if TYPE_CHECKING:
    from conftest import Fails

# one class whose probability rises from left to right, at a quarter of the full resolution
MAPS = CroppedMaps.from_dense(np.linspace(0, 255, 16).astype(np.uint8)[None, None].repeat(8, 1))
SHAPE = (32, 64)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, counts = tmp_path / "decision.json", tmp_path / "counts.csv"
    counts.write_text("counts under the decision")
    Decision(0.45).save(path, counts)
    assert Decision.load(path) == Decision.load(path, counts) == Decision(0.45)


@pytest.mark.parametrize("changed", ["decision.json", "counts.csv"])
def test_counts_of_another_decision_are_an_error(tmp_path: Path, fails: Fails, changed: str) -> None:
    """Otherwise the metrics beside a submission would be those of another threshold."""
    path, counts = tmp_path / "decision.json", tmp_path / "counts.csv"
    counts.write_text("0.45")
    Decision(0.45).save(path, counts)
    (tmp_path / changed).write_text((tmp_path / changed).read_text().replace("0.45", "0.46"))
    with fails("decision.counts", "decision.json"):
        Decision.load(path, counts)


@pytest.mark.parametrize("value", ['"0.5"', "true", "[0.5]", "null", "0", "1", "-0.5", "1.5"])
def test_a_threshold_that_is_none_is_an_error(tmp_path: Path, fails: Fails, value: str) -> None:
    (tmp_path / "decision.json").write_text(f'{{"threshold": {value}}}')
    with fails("decision.value", "decision.json: threshold"):
        Decision.load(tmp_path / "decision.json")


@pytest.mark.parametrize("text", ["[]", "0.5", '"a"'])
def test_a_document_that_is_no_decision_is_an_error(tmp_path: Path, fails: Fails, text: str) -> None:
    (tmp_path / "decision.json").write_text(text)
    with fails("decision.key", "decision.json"):
        Decision.load(tmp_path / "decision.json")


@pytest.mark.parametrize(("change", "key"), [({"treshold": 0.4}, "treshold"), ({"threshold": None}, "threshold")])
def test_unknown_and_missing_keys_are_errors(tmp_path: Path, fails: Fails, change: dict[str, float | None], key: str) -> None:
    document = {name: value for name, value in ({"threshold": 0.5} | change).items() if value is not None}
    (tmp_path / "decision.json").write_text(json.dumps(document))
    with fails("decision.key", f"decision.json: {key}"):
        Decision.load(tmp_path / "decision.json")


def test_without_the_file_it_says_so(tmp_path: Path, fails: Fails) -> None:
    with fails("stage.input_missing", "decision.json"):
        Decision.load(tmp_path / "decision.json")


def test_a_lower_threshold_gives_larger_masks_at_full_resolution() -> None:
    areas = [decide(MAPS, SHAPE, Decision(threshold)).areas()[0] for threshold in (0.25, 0.5, 0.75)]
    assert areas[0] > areas[1] > areas[2] > 0
    assert areas[1] == pytest.approx(32 * 64 / 2, rel=0.05)


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_counts_are_those_of_the_decided_masks(threshold: float) -> None:
    truth = np.zeros((1, *SHAPE), bool)
    truth[:, 4:20, 30:50] = True
    masks = decide(MAPS, SHAPE, Decision(threshold)).boxed().dense()
    expected = [(masks & truth).sum(), (masks & ~truth).sum(), (~masks & truth).sum()]
    assert decided_counts(MAPS, PackedMasks.pack(BoxedMasks.from_dense(truth)), Decision(threshold)).tolist() == [expected]
