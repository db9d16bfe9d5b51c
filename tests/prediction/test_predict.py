"""handbone predict and handbone.load: the masks of the submission, for pictures of any format and size, in every format of output."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

import handbone
from handbone.cli.export import export_models
from handbone.cli.predict import predict_images
from handbone.config import paths
from handbone.dataset.annotation import read_polygons
from handbone.masks.rasterize import rasterize
from handbone.utils.errors import UserError
from handbone.utils.io import read_json, write_json
from pages import section

if TYPE_CHECKING:
    from conftest import Fails

IMAGES = Path("data/raw/test/DCM")
CLASSES = ["Radius", "Ulna"]
EXCLUSIVE = {"data.exclusive": True, "train.loss": {"cross_entropy": 1.0, "dice": 1.0}, "decide.threshold": None}
Run = Callable[..., None]


def predict(source: Path, *kinds: str, folder: str = "models", window: tuple[float, float] | None = None) -> Path:
    out = Path("out")
    predict_images(source, out, kinds or ("json",), Path(folder), None, window)
    return out


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"infer.hflip": True, "infer.scales": [0.5, 1.0], "data.mirror": {"Radius": "Ulna"}},
        {"infer.window_size": 16, "infer.window_stride": 8, "decide.threshold": 0.505, "decide.clean_up": ["largest", "fill_holes"]},
        {"submission.columns": ["a", "b", "c"], "submission.order": "column", "submission.base": 0, "submission.empty": "-1"},
        EXCLUSIVE | {"infer.hflip": True},
    ],
)
def test_the_csv_is_the_submission(finished_run: Run, changes: dict[str, Any]) -> None:
    finished_run(changes)
    assert (predict(IMAGES, "csv") / "predictions.csv").read_bytes() == paths.SUBMISSION.read_bytes()


def test_an_exported_folder_knows_that_classes_exclude_each_other(finished_run: Run) -> None:
    finished_run(EXCLUSIVE)
    export_models(Path("exported"), None)
    model = handbone.load("exported")
    masks = model.predict(cv2.imread(str(IMAGES / "C/c1.png"), cv2.IMREAD_GRAYSCALE))
    assert (masks.sum(0) == 1).all()
    assert (predict(IMAGES, "csv", folder="exported") / "predictions.csv").read_bytes() == paths.SUBMISSION.read_bytes()


def test_parameters_that_were_changed_since_then_do_not_count(finished_run: Run, change_params: Run) -> None:
    finished_run()
    change_params({"preprocess.clahe": 2.0, "infer.vflip": True, "decide.threshold": 0.9})
    assert (predict(IMAGES, "csv") / "predictions.csv").read_bytes() == paths.SUBMISSION.read_bytes()


def test_all_formats_have_the_masks_that_python_gets(finished_run: Run) -> None:
    finished_run()
    out = predict(IMAGES, "json", "png", "coco", "overlay")
    model = handbone.load("models")
    document = read_json(out / "coco.json")
    assert model.classes == CLASSES == [category["name"] for category in document["categories"]]
    for number, key in enumerate(("C/c1", "D/d1"), start=1):
        masks = model.predict(cv2.imread(str(IMAGES / f"{key}.png"), cv2.IMREAD_GRAYSCALE))
        assert masks.shape == (2, 32, 48) and masks.any() and not masks.all()
        polygons, problems = read_polygons(out / "json" / f"{key}.json", CLASSES, (32, 48), allow_missing=True)
        assert not problems and np.array_equal(rasterize(polygons, (32, 48)).dense(), masks)
        painted = [cv2.imread(str(out / "png" / key / f"{name}.png"), cv2.IMREAD_UNCHANGED) for name in CLASSES]
        assert np.array_equal(painted, masks * np.uint8(255))
        assert document["images"][number - 1] == {"id": number, "file_name": f"{key}.png", "height": 32, "width": 48}
        encoded = [one for one in document["annotations"] if one["image_id"] == number]
        assert all(np.array_equal(coco.decode(one["segmentation"]), masks[one["category_id"] - 1]) for one in encoded)
        assert cv2.imread(str(out / "overlay" / f"{key}.jpg")).shape == (32, 48, 3)
    assert [one["id"] for one in document["annotations"]] == list(range(1, len(document["annotations"]) + 1))


def test_the_lines_of_the_documentation(finished_run: Run) -> None:
    finished_run()
    (block,) = section("docs/predict.md", "From Python")
    names = {"image": cv2.imread(str(IMAGES / "C/c1.png"))}
    exec(block.text, names)
    assert np.array_equal(names["masks"], handbone.load("models").predict(names["image"])) and names["masks"].shape == (2, 32, 48)


def test_colour_of_equal_channels_is_grey_and_other_arrays_are_refused(finished_run: Run) -> None:
    finished_run()
    model = handbone.load("models")
    image = cv2.imread(str(IMAGES / "C/c1.png"))
    assert np.array_equal(model.predict(image), model.predict(image[..., 0]))
    for wrong in (image.astype(np.float32), image[..., :2], image[None], image[:0]):
        with pytest.raises(ValueError, match="uint8"):
            model.predict(wrong)


def write_pictures(folder: Path) -> None:
    """Pictures of several formats and sizes, and files that are none."""
    (folder / "more").mkdir(parents=True)
    grey = np.random.default_rng(1).integers(0, 256, (40, 30), np.uint8)
    Image.fromarray(grey).save(folder / "a.jpg")
    Image.fromarray(grey).save(folder / "a.tif")
    Image.fromarray(np.stack([grey, grey.T[:30].repeat(2, 0)[:40, :30], grey], 2)).save(folder / "more/colour.BMP")
    Image.fromarray(grey[:1, :1]).save(folder / "more/tiny.png")
    cv2.imwrite(str(folder / "deep.png"), grey.astype(np.uint16) * 16)
    (folder / "corrupt.png").write_bytes((folder / "deep.png").read_bytes()[:200])
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no picture")
    (folder / "gone.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")


def test_what_is_no_picture_is_listed_at_the_end_and_the_rest_is_written(finished_run: Run, fails: Fails) -> None:
    finished_run()
    write_pictures(Path("photos"))
    with fails("import.picture", "corrupt.png", "empty.jpg", "notes.txt", "gone.png", "pipe.png"):
        predict(Path("photos"), "json", "overlay", "csv", window=(0, 4095))
    written = sorted(path.relative_to("out/json").as_posix() for path in Path("out/json").rglob("*.json"))
    assert written == ["a.jpg.json", "a.tif.json", "deep.json", "more/colour.json", "more/tiny.json"]
    assert read_json(Path("out/json/a.tif.json"))["metadata"] == {"height": 40, "width": 30}
    names = dict.fromkeys(line.split(",")[0] for line in Path("out/predictions.csv").read_text().splitlines()[1:])
    assert list(names) == ["a.jpg", "a.tif", "deep.png", "colour.BMP", "tiny.png"]


def test_more_than_8_bits_need_a_window(finished_run: Run, fails: Fails) -> None:
    finished_run()
    write_pictures(Path("photos"))
    with fails("import.bits", "photos/deep.png"):
        predict(Path("photos/deep.png"))
    assert not Path("out").exists(), "no picture could be read"


def test_a_large_picture_is_predicted_at_its_size(finished_run: Run) -> None:
    finished_run()
    small = cv2.imread(str(IMAGES / "C/c1.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite("large.png", cv2.resize(small, (4000, 3000)))
    out = predict(Path("large.png"), "json", "overlay", "csv")
    assert read_json(out / "json/large.json")["metadata"] == {"height": 3000, "width": 4000}
    assert cv2.imread(str(out / "overlay/large.jpg")).shape == (960, 1280, 3)


def test_files_of_one_name_have_their_path_in_the_csv(finished_run: Run) -> None:
    finished_run()
    for key in ("one/x.png", "two/x.png"):
        (Path("photos") / key).parent.mkdir(parents=True)
        cv2.imwrite(f"photos/{key}", np.zeros((9, 9), np.uint8))
    lines = (predict(Path("photos"), "csv") / "predictions.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1::2]] == ["one/x.png", "two/x.png"]


@pytest.mark.parametrize(
    ("source", "kinds", "window", "code"),
    [
        ("nowhere", ["json"], None, "predict.source"),
        ("weights", ["json"], None, "predict.source"),
        ("data/raw/test/DCM", ["jsn"], None, "predict.format"),
        ("data/raw/test/DCM", ["json"], (9, 9), "predict.window"),
    ],
)
def test_wrong_arguments_are_errors(finished_run: Run, fails: Fails, source: str, kinds: list[str], window: Any, code: str) -> None:
    finished_run()
    Path("weights").mkdir()
    with fails(code):
        predict(Path(source), *kinds, window=window)
    assert not Path("out").exists()


def test_an_existing_folder_is_not_touched(finished_run: Run, fails: Fails) -> None:
    finished_run()
    Path("out").mkdir()
    with fails("predict.target", "out"):
        predict(IMAGES)
    with fails("export.target", "out"):
        export_models(Path("out"), None)
    assert not list(Path("out").iterdir())


def test_an_exported_folder_needs_no_repository(finished_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_run({"infer.hflip": True, "data.exclude": ["ID007"], "decide.clean_up": ["largest"]})
    export_models(Path("bones"), None)
    assert "ID007" not in Path("bones/predict.json").read_text()
    submission, image = paths.SUBMISSION.read_bytes(), cv2.imread(str(IMAGES / "C/c1.png"))
    expected = handbone.load("models").predict(image)
    (tmp_path / "elsewhere").mkdir()
    for name in ("bones", "data"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (predict(IMAGES, "csv", folder="bones") / "predictions.csv").read_bytes() == submission
    assert np.array_equal(handbone.load("bones").predict(image), expected)


def test_models_that_the_record_does_not_name_are_refused(finished_run: Run, fails: Fails) -> None:
    finished_run()
    document = read_json(paths.LINEAGE)
    document["models"]["1"]["sha256"] = "another"
    write_json(paths.LINEAGE, document)
    with fails("predict.weights", "models/fold_1"):
        handbone.load("models")


def test_a_decision_over_several_experiments_is_refused(finished_run: Run, fails: Fails) -> None:
    finished_run()
    document = read_json(paths.LINEAGE)
    document["decision"]["members"] = {"current": 1, "unet": 1}
    document["members"] = {"unet": {"commit": "0123456789abcdef"}}
    write_json(paths.LINEAGE, document)
    with fails("predict.members", "submission.json") as caught:
        handbone.load("models")
    assert "--rev 0123456789 " in str(caught.value)  # the way to predict with the member


@pytest.mark.parametrize("text", ["[]", "{}", '{"parameters": {}, "decision": {}, "models": {"0": 1}}', "null"])
def test_another_document_is_no_record(finished_run: Run, fails: Fails, text: str) -> None:
    finished_run()
    paths.LINEAGE.write_text(text)
    with fails("predict.record", "submission.json"):
        handbone.load("models")


def test_a_folder_without_models_is_named(change_params: Run, fails: Fails) -> None:
    for folder in ("nowhere", "."):
        with fails("predict.model", folder):
            handbone.load(folder)


def test_a_class_that_cannot_name_a_file_is_an_error_of_png_alone(finished_run: Run, fails: Fails) -> None:
    from handbone.prediction.outputs import check_class_names

    check_class_names(["finger-1", "os coxae"])
    with pytest.raises(UserError) as caught:
        check_class_names(["a/b", "..", "Ulna"])
    assert len(caught.value.problems) == 2


def test_the_annotations_name_their_picture(finished_run: Run) -> None:
    finished_run()
    assert json.loads((predict(IMAGES) / "json/C/c1.json").read_text())["filename"] == "C/c1.png"
