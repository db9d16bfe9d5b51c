"""Classes that exclude each other, from polygons to the score: every stage, with a real training of seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from handbone.cli.app import parser
from handbone.cli.app import run as run_command
from handbone.cli.score import print_score
from handbone.config import paths
from handbone.evaluation.dice import mean_pooled_iou
from handbone.masks.rle import decode_runs
from handbone.submission.csv import read_submission
from handbone.utils.io import read_json, read_table
from imports import ROOT
from stages import infer, preprocess, pseudo, report, split, submit, train, validate

CLASSES = ["sky", "road", "car"]
COLOURS = [(230, 150, 90), (90, 90, 90), (40, 40, 220)]  # blue, green, red
SHAPE = 48, 64
KEYS = {"train": [f"{person}/{person.lower()}" for person in "ABCDEFGH"], "test": ["Y/y", "Z/z"]}

PRESET = "handbone preset exclusive"
CHANGES = {  # of the preset
    "data.classes": CLASSES,
    "folds": [0],
    "model.arch": "Unet",
    "model.encoder": "tu-resnet10t",
    "model.options": {"Unet": {"decoder_channels": [16] * 5}},
    "model.weights": None,
    "seed": 22,
    "train.augment": [{"HorizontalFlip": {"p": 0.5}}],
    "train.batch_size": 2,
    "train.ema_decay": 0.8,
    "train.epochs": 15,
    "train.lr": 0.01,
    "train.size": 64,
    "train.validate_every": 15,
    "machine.num_workers": 0,
    "machine.preprocess_workers": 1,
}


def rectangle(y0: int, x0: int, y1: int, x1: int) -> list[list[int]]:
    """Its polygon, ends exclusive."""
    return [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]]


def write_scene(root: Path, subset: str, key: str, rng: np.random.Generator) -> None:
    """A road below the sky, with void between them, and a car whose polygon overlaps the road's."""
    horizon, left = int(rng.integers(18, 28)), int(rng.integers(4, 40))
    boxes = [(0, 0, horizon - 2, SHAPE[1]), (horizon + 2, 0, *SHAPE), (horizon + 4, left, horizon + 16, left + 20)]
    image = rng.integers(0, 255, (*SHAPE, 3)).astype(np.uint8)  # void is noise
    for (y0, x0, y1, x1), colour in zip(boxes, COLOURS, strict=True):
        image[y0:y1, x0:x1] = np.array(colour) + rng.integers(-20, 20, (y1 - y0, x1 - x0, 3))
    picture = root / subset / "DCM" / f"{key}.png"
    annotation = root / ("test_truth" if subset == "test" else subset) / "outputs_json" / f"{key}.json"
    for file in (picture, annotation):
        file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(picture), image)
    drawn = [{"label": name, "points": rectangle(*box)} for name, box in zip(CLASSES, boxes, strict=True)]
    annotation.write_text(json.dumps({"annotations": drawn}))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A project with the data set, after `handbone preset exclusive`; run(train, "0") runs a stage."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "presets", "presets")
    run_command(**vars(parser().parse_args(PRESET.split()[1:])))
    document = yaml.safe_load(Path("params.yaml").read_text())
    for name, value in CHANGES.items():
        *section, key = name.split(".")
        (document[section[0]] if section else document)[key] = value
    Path("params.yaml").write_text(yaml.safe_dump(document))
    rng = np.random.default_rng(0)
    for subset, keys in KEYS.items():
        for key in keys:
            write_scene(Path("data/raw"), subset, key, rng)

    def stage(module: Any, *arguments: str) -> None:
        monkeypatch.setattr("sys.argv", [module.__name__, *arguments])
        module.main()

    return stage


def test_from_polygons_to_the_score(run: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    run(preprocess)
    assert "in a later class" in capsys.readouterr().err
    for stage, *arguments in [(split,), (pseudo,), (train, "0"), (infer, "oof"), (infer, "test"), (validate,), (submit,)]:
        run(stage, *arguments)
    metrics, counts = read_json(paths.METRICS), read_table(paths.TEST_COUNTS)
    assert metrics["miou"] > 0.8 and metrics["test"]["miou"] == pytest.approx(mean_pooled_iou(counts)) and mean_pooled_iou(counts) > 0.8
    assert read_json(paths.DECISION)["threshold"] is None
    rows = read_submission(paths.SUBMISSION)
    masks = decode_runs(rows["rle"].tolist(), *SHAPE, rows["class"].tolist()).boxed().dense()
    assert (masks.reshape(2, len(CLASSES), *SHAPE).sum(1) == 1).all(), "void is predicted as some class, too"
    scored = counts.groupby("key")[["tp", "fp"]].sum().sum(axis=1)
    assert (scored == SHAPE[1] * (SHAPE[0] - 4)).all(), "without the four rows of void"
    run(report)
    assert "argmax" in paths.PAGE.read_text()
    capsys.readouterr()
    print_score()
    assert f"mIoU {mean_pooled_iou(counts):.4f}" in capsys.readouterr().out
