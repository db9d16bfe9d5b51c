"""`handbone import` and `handbone export-labels` as typed, and every block of docs/data.md about them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from formats.pictures import write_picture
from handbone.cli.app import parser
from handbone.cli.app import run as run_command
from handbone.cli.preset import preset_params
from handbone.dataset.layout import find_samples
from handbone.dataset.preprocess import PreprocessSpec, prepare_sample
from handbone.formats.coco_rle import counts_of_mask, text_of_counts
from handbone.formats.labels import mask
from handbone.submission.csv import image_rows, write_submission
from imports import ROOT
from pages import section

if TYPE_CHECKING:
    from conftest import Fails

ChangeParams = Callable[..., None]
PIXELS = np.pad(np.ones((10, 12), bool), ((10, 10), (8, 20)))
SQUARE = [[2, 2], [20, 2], [20, 20], [2, 20]]
NAMES = ("P1_1", "P1_2", "P2_1", "P3_1")


def run(line: str) -> None:
    run_command(**vars(parser().parse_args(shlex.split(line)[1:])))


def write_coco(path: Path, names: tuple[str, ...]) -> None:
    rle = {"size": list(PIXELS.shape), "counts": text_of_counts(counts_of_mask(PIXELS))}
    flat = [number for point in SQUARE for number in point]
    annotations = [
        {"id": 2 * number + kind, "image_id": number, "category_id": kind + 1, "iscrowd": 0, "segmentation": [flat] if kind else rle}
        for number in range(len(names))
        for kind in (0, 1)
    ]
    images = [{"id": number, "file_name": f"{name}.jpg", "height": 30, "width": 40} for number, name in enumerate(names)]
    categories = [{"id": 1, "name": "ulna"}, {"id": 2, "name": "radius"}]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def write_labelme(folder: Path) -> None:
    for seed, name in enumerate(NAMES):
        person, number = name.split("_")
        write_picture(folder / person / f"{number}.jpg", seed=seed)
        shapes = [{"label": label, "points": SQUARE, "shape_type": "polygon"} for label in ("ulna", "radius")]
        document = {"shapes": shapes, "imagePath": f"{number}.jpg", "imageData": None, "imageHeight": 30, "imageWidth": 40}
        (folder / person / f"{number}.json").write_text(json.dumps(document))


def write_cvat(path: Path) -> None:
    shapes = '<box label="ulna" xtl="10" ytl="5" xbr="20" ybr="9"/><polygon label="radius" points="2,2;20,2;20,20"/>'
    images = "".join(f'<image id="{number}" name="{name}.jpg" width="40" height="30">{shapes}</image>' for number, name in enumerate(NAMES))
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{images}</annotations>')


def write_masks(folder: Path) -> None:
    folder.mkdir()
    for name in NAMES:
        Image.fromarray(np.where(PIXELS, 1, 2).astype(np.uint8)).save(folder / f"{name}.png")


@pytest.fixture
def sources(tmp_path: Path, change_params: ChangeParams) -> Path:
    """The working directory, with a file of each format under the names that docs/data.md uses."""
    shutil.copytree(ROOT / "presets", "presets")
    for seed, name in enumerate(NAMES):
        write_picture(Path(f"images/{name}.jpg"), seed=seed)
    for seed, name in enumerate(("Q1_1", "Q2_1")):
        write_picture(Path(f"test/{name}.jpg"), seed=9 + seed)
    write_coco(Path("train.json"), NAMES)
    write_coco(Path("test.json"), ("Q1_1", "Q2_1"))
    write_labelme(Path("labelled"))
    write_cvat(Path("annotations.xml"))
    write_masks(Path("masks"))
    runs = mask("ulna", PIXELS.T)["rle"]  # column by column
    rows = "".join(f"{name},{organ},{runs},{name[:2]}\n" for name in NAMES for organ in ("ulna", "radius"))
    Path("train.csv").write_text(f"ImageId,Organ,EncodedPixels,Patient\n{rows}")
    return tmp_path


def samples(root: str, classes: list[str], allow_missing: bool = False) -> dict[str, Any]:
    """What preprocess makes of the data set, by key; it needs a test image."""
    if not (Path(root) / "test").exists():
        write_picture(Path(root) / "test/DCM/T/t.png")
    spec = PreprocessSpec(classes, allow_missing, None, 1)
    return {sample.key: prepare_sample(sample, spec) for sample in find_samples(Path(root), [])}


BLOCKS = [block.commands for block in section("docs/data.md", "Other formats")]


@pytest.mark.parametrize("lines", BLOCKS, ids=lambda lines: " ".join(lines[0].split()[1:3]))
def test_every_block_of_the_docs_runs(lines: list[str], sources: Path) -> None:
    """Except for the graph, which tests/test_imported.py runs on an imported data set."""
    run("handbone preset demo --force")
    if "data/mine" in lines[0] and not any("-o data/mine" in line for line in lines):
        run("handbone import coco train.json --images images --test test --test-labels test.json -o data/mine --person-from ^[^_]+")
    write_submission(Path("submissions/submission.csv"), image_rows("Q1_1.png", ["ulna", "radius"], [mask("ulna", PIXELS)["rle"], ""]))
    for line in lines:
        if line.startswith("handbone") and line != "handbone score":
            run(line)
    assert len(samples("data/mine", ["ulna", "radius"], allow_missing=True)) >= 5


def test_the_masks_of_an_import_are_those_of_the_source(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(
        "handbone import coco train.json --images images --test test --test-labels test.json -o new/mine --person-from ^[^_]+ --preset mine"
    )
    found = samples("new/mine", ["radius", "ulna"])
    assert set(found) == {"P1/P1_1", "P1/P1_2", "P2/P2_1", "P3/P3_1", "Q1/Q1_1", "Q2/Q2_1"}
    assert np.array_equal(found["P1/P1_2"].masks.unpack().dense()[1], PIXELS)
    data = preset_params("mine", Path("presets")).data
    assert (data.root, data.classes, data.allow_missing) == ("new/mine", ["ulna", "radius"], False)
    assert "4 training images of 3 people; 4 polygons as they are, 4 masks to the pixel" in capsys.readouterr().out


def test_a_preset_can_be_like_another(sources: Path) -> None:
    run("handbone import coco train.json --images images -o new --preset mine --like demo --classes radius")
    params, demo = preset_params("mine", Path("presets")), preset_params("demo", Path("presets"))
    assert (params.train, params.folds, params.data.classes) == (demo.train, demo.folds, ["radius"])


def test_the_classes_are_printed_if_their_preset_cannot_be_written(sources: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    shutil.rmtree("presets")
    Path("presets").touch()
    with fails("io.folder", "presets/mine.yaml"):
        run("handbone import coco train.json --images images -o new --preset mine")
    assert "root: new\n  classes:\n  - ulna\n  - radius\n" in capsys.readouterr().out and Path("new/train").is_dir()


def test_excluded_images_are_left_out_whatever_is_wrong_with_them(sources: Path) -> None:
    Path("images/P1_2.jpg").unlink()
    run("handbone import coco train.json --images images --test test -o new --exclude P1_2.jpg,Q1_1.jpg")
    assert set(samples("new", ["ulna", "radius"])) == {"P1_1/P1_1", "P2_1/P2_1", "P3_1/P3_1", "Q2_1/Q2_1"}


def test_without_a_rule_for_people_there_is_a_warning(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("handbone import coco train.json --images images -o new")
    out, warnings = capsys.readouterr()
    assert "every image counts as its own person" in warnings and "--test FOLDER" in warnings
    assert "classes:\n  - ulna\n  - radius\n" in out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--base 0 --values 1=a", "import.option"),
        ("--window 9 9", "import.option"),
        ("--as-masks --label a", "import.option"),
        ("--like demo", "import.option"),
        ("--preset demo", "import.preset"),
        ("--preset ../x", "import.preset"),
        ("--preset x --like none", "preset.name"),
        ("--classes bone", "import.class"),
        ("--exclude P1_1", "import.exclude"),
        ("--images none", "import.picture"),
        ("--test none", "import.source"),
        ("--person-from (", "import.person_rule"),
        ("--person-from folder", "import.person"),
    ],
)
def test_a_bad_option_is_an_error_and_nothing_is_written(sources: Path, options: str, code: str, fails: Fails) -> None:
    before = sorted(path.name for path in [*sources.iterdir(), *Path("presets").iterdir()])
    with fails(code):
        run(f"handbone import coco train.json --images images -o new {options}")
    assert sorted(path.name for path in [*sources.iterdir(), *Path("presets").iterdir()]) == before


@pytest.mark.parametrize(
    ("values", "code"), [("a=b", "import.option"), ("0=b", "import.option"), ("1", "import.option"), ("1=", "import.option")]
)
def test_bad_values_are_an_error(sources: Path, values: str, code: str, fails: Fails) -> None:
    with fails(code, "--values"):
        run(f"handbone import png masks --images images -o new --values {values}")


@pytest.mark.parametrize("name", ["coco", "labelme", "cvat", "csv"])
def test_a_source_of_another_format_is_named(sources: Path, name: str, fails: Fails) -> None:
    others = {"coco": "train.json", "labelme": "labelled", "cvat": "annotations.xml"}
    for other, source in others.items():
        if other != name and not (name in ("csv", "cvat") and source == "labelled"):
            with fails("import.format") as caught:
                run(f"handbone import {name} {source} --images images -o new")
            assert f"handbone import {other}" in str(caught.value)
