"""Classes of another data set."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from conftest import Fails
from handbone.dataset.labels import MAX_LABELS, require_known_label
from handbone.dataset.layout import Sample


@pytest.fixture
def labelled(tmp_path: Path) -> list[Sample]:
    """Two training images with the labels 2, 10 and 한, and a test image."""
    return [*(annotated(tmp_path, key, labels) for key, labels in (("a", ["10", "2"]), ("b", ["한", "2"]))), unlabelled(tmp_path)]


def annotated(folder: Path, key: str, labels: Sequence[object]) -> Sample:
    path = folder / f"{key}.json"
    path.write_text(json.dumps({"annotations": [{"label": label, "points": []} for label in labels]}))
    return Sample("train", f"A/{key}", folder / f"{key}.png", path)


def unlabelled(folder: Path) -> Sample:
    return Sample("test", "C/c", folder / "c.png", None)


def test_classes_of_another_data_set_are_one_error_with_all_labels_to_copy(labelled: list[Sample], fails: Fails) -> None:
    with fails("annotation.labels", "params.yaml: data.classes") as caught:
        require_known_label(labelled, ["Radius", "Ulna"])
    [problem] = caught.value.problems
    assert '["2", "10", "한"]' in problem.fix


@pytest.mark.parametrize("known", ["2", "한", "\u1112\u1161\u11ab"])
def test_one_known_label_is_enough(labelled: list[Sample], known: str) -> None:
    require_known_label(labelled, ["Radius", known])


def test_a_known_label_ends_the_reading(labelled: list[Sample]) -> None:
    (labelled[1].image.parent / "b.json").unlink()
    require_known_label(labelled, ["10"])


@pytest.mark.parametrize("labels", [[], [None, 3], range(MAX_LABELS + 1)], ids=["no label", "no text", "a number for each object"])
def test_what_is_no_list_of_classes_is_left_to_the_reader_of_each_file(tmp_path: Path, labels: Sequence[object]) -> None:
    given = [str(label) for label in labels] if isinstance(labels, range) else labels
    require_known_label([annotated(tmp_path, "a", given)], ["Radius"])


@pytest.mark.parametrize("content", ["", "[]", '{"annotations": [1]}'])
def test_a_broken_file_is_left_to_its_reader(tmp_path: Path, content: str) -> None:
    sample = annotated(tmp_path, "a", [])
    (tmp_path / "a.json").write_text(content)
    require_known_label([sample], ["Radius"])
