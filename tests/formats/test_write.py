"""Labels become a data set that preprocess reads, or nothing at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from formats.pictures import write_picture
from handbone.dataset.layout import find_samples
from handbone.dataset.preprocess import PreprocessSpec, prepare_sample
from handbone.formats import write as room
from handbone.formats.labels import LabelledImage, mask, polygon
from handbone.formats.people import person_rule
from handbone.formats.write import WriteOptions, write_data_set

if TYPE_CHECKING:
    from conftest import Fails

OPTIONS = WriteOptions(["a", "b"], person_rule(None))
TRIANGLE = [[1, 1], [20, 2], [9, 20]]
PIXELS = np.random.default_rng(0).random((30, 40)) < 0.5


def image(folder: Path, name: str = "p/x.jpg", annotations: Sequence[dict[str, Any]] = (), **more: Any) -> LabelledImage:
    write_picture(folder / name)
    return LabelledImage(name, f"place of {name}", folder / name, **({"annotations": annotations, "size": (30, 40)} | more))


def test_preprocess_reads_what_is_written(tmp_path: Path) -> None:
    train = [image(tmp_path, "x.bmp", [polygon("a", TRIANGLE), mask("b", PIXELS)]), image(tmp_path, "y.png", [mask("a", PIXELS)])]
    written = write_data_set(tmp_path / "root", train, [image(tmp_path, "z.tif", [mask("c", PIXELS)])], True, OPTIONS)
    spec = PreprocessSpec(OPTIONS.classes, True, None, 1)
    first, second, test = [(sample, prepare_sample(sample, spec)) for sample in find_samples(tmp_path / "root", [])]
    assert [sample.key for sample, _ in (first, second, test)] == ["x/x", "y/y", "z/z"]
    assert np.array_equal(first[1].masks.unpack().dense()[1], PIXELS)
    assert np.array_equal(first[1].image, write_picture(tmp_path / "again.png"))
    assert (tmp_path / "root/test_truth/outputs_json/z/z.json").is_file()
    assert [(one.images, one.people, one.polygons, one.masks, one.incomplete, dict(one.left_out)) for one in written] == [
        (2, 2, 1, 2, 1, {}),
        (1, 1, 0, 0, 1, {"c": 1}),
    ]


def test_test_images_without_a_truth_have_none(tmp_path: Path) -> None:
    write_data_set(tmp_path / "root", [image(tmp_path, annotations=[polygon("a", TRIANGLE)])], [image(tmp_path, "z.tif")], False, OPTIONS)
    assert not (tmp_path / "root/test_truth").exists()


def test_an_existing_folder_is_refused(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "root").mkdir()
    with fails("import.target", "root"):
        write_data_set(tmp_path / "root", [image(tmp_path)], [], False, OPTIONS)


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("q/x.png", {}, "import.name"),
        (".x.png", {}, "import.name"),
        ("y.png", {"size": (40, 30)}, "import.size"),
        ("y.png", {"picture": Path("none.png")}, "import.picture"),
        ("y.png", {"annotations": [polygon("a", [[1, 1], [90, 1], [5, 9]])]}, "annotation.outside"),
        ("y.png", {"annotations": [polygon("a", [[1, 1], [3, 3], [5, 5]])]}, "annotation.no_area"),
        ("y.png", {"annotations": [polygon("a", [[0.1, 0.1], [0.9, 0.1], [0.5, 1]])]}, "annotation.relative"),
    ],
)
def test_after_an_error_there_is_no_folder(tmp_path: Path, name: str, change: dict[str, Any], code: str, fails: Fails) -> None:
    bad = image(tmp_path, name)
    images = [image(tmp_path), LabelledImage(**(vars(bad) | change))]
    with fails(code, f"place of {name}" if code != "import.picture" else "none.png"):
        write_data_set(tmp_path / "root", images, [], False, OPTIONS)
    assert not [path for path in tmp_path.iterdir() if "root" in path.name]


def test_all_faults_are_listed(tmp_path: Path) -> None:
    outside = [polygon("a", [[1, 1], [90, 1], [5, 9]])]
    bad = [image(tmp_path, f"{name}.png", outside) for name in "xy"] + [image(tmp_path, "z.png", size=(1, 1))]
    with pytest.raises(room.UserError) as caught:
        write_data_set(tmp_path / "root", bad, [image(tmp_path, ".t.png")], False, OPTIONS)
    assert caught.value.codes == {"annotation.outside", "import.size", "import.name"}
    assert len(caught.value.problems) == 5


def test_images_of_one_name_are_told_apart_by_their_path(tmp_path: Path) -> None:
    images = [image(tmp_path, f"{person}/1.png", [polygon("a", TRIANGLE)]) for person in "pq"]
    write_data_set(tmp_path / "root", images, [], False, WriteOptions(["a"], person_rule("folder"), whole_names=True))
    assert sorted(path.name for path in (tmp_path / "root/train/DCM").rglob("*.png")) == ["p_1.png", "q_1.png"]


def test_an_image_whose_name_is_taken_has_its_other_faults_listed(tmp_path: Path) -> None:
    outside = [polygon("a", [[1, 1], [90, 1], [5, 9]])]
    images = [image(tmp_path), *(image(tmp_path, f"{folder}/x.png", outside) for folder in "pq")]
    with pytest.raises(room.UserError) as caught:
        write_data_set(tmp_path / "root", images, [], False, OPTIONS)
    assert sorted(problem.code for problem in caught.value.problems) == ["annotation.outside"] * 2 + ["import.name"] * 2
