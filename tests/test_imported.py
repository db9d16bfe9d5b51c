"""From JPEGs with COCO annotations to a scored CSV in the four commands of docs/data.md, under the real DVC."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from handbone.config.params import PhantomParams
from handbone.dataset.layout import IMAGES
from handbone.phantom.dataset import write_phantom
from project import SMALL, Project, ran

IMPORT = (
    "handbone import coco train.json --images images --test test --test-labels test.json -o data/mine --person-from '^([^_]+)_' "
    "--preset mine --like small"
)


def write_sources(folder: Path, phantom: Path) -> None:
    """Phantoms as JPEGs named <person>_<image>.jpg."""
    write_phantom(PhantomParams(size=96, train_people=4, test_people=2), phantom, 1)
    for subset, name in (("train", "images"), ("test", "test")):
        (folder / name).mkdir()
        for file in (phantom / IMAGES[subset]).rglob("*.png"):
            Image.open(file).save(folder / name / f"{file.parent.name}_{file.stem}.jpg")


@pytest.mark.slow
def test_four_commands_lead_from_coco_to_a_score(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = Project.create(tmp_path / "project", SMALL)
    write_sources(project.folder, tmp_path / "phantom")
    (project.folder / "params.yaml").rename(project.folder / "presets/small.yaml")  # with every key, and JPEGs instead of phantoms
    project.git("checkout", "params.yaml")
    for subset in ("train", "test"):
        project.sh(f"handbone export-labels --format coco --subset {subset} {tmp_path / 'phantom'} -o {subset}.json")
        document = json.loads((project.folder / f"{subset}.json").read_text())
        for image in document["images"]:
            image["file_name"] = image["file_name"].replace("/", "_").replace(".png", ".jpg")
        (project.folder / f"{subset}.json").write_text(json.dumps(document))
    assert "8 training images of 4 people" in project.sh(IMPORT)
    assert "data/mine" in project.sh("handbone preset mine")
    assert "submit" in ran(project.sh("dvc repro"))
    assert "over 29 classes and 4 images" in project.sh("handbone score")
