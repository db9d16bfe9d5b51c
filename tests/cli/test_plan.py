"""`handbone plan` prints a table, and writes a preset of one of its rows."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from conftest import CLASSES, ChangeParams, Fails
from handbone.cache.sample import CachedSample, write_sample
from handbone.cli import plan
from handbone.cli.plan import print_plan
from handbone.cli.preset import preset_params, write_preset
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.training.trial import Trial
from handbone.utils.io import write_table

SHAPE = (640, 512)


@pytest.fixture
def project(change_params: ChangeParams) -> ChangeParams:
    """The demo's network, and a cache of two images of 640 x 512 px."""
    masks = BoxedMasks.from_crops(SHAPE, [(40, 40), (301, 203)], [np.ones((41, 83), bool), np.tri(39, 57, dtype=bool)])
    for key in ("A/a", "B/b"):
        write_sample(paths.cached_sample("train", key), CachedSample(np.zeros(SHAPE, np.uint8), SHAPE, PackedMasks.pack(masks)))
    write_table(paths.TRAIN_INDEX, pd.DataFrame({"key": ["A/a", "B/b"], "height": SHAPE[0], "width": SHAPE[1]}))
    return change_params


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def table(text: str) -> dict[str, list[str]]:
    """The rows that were printed, by size."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.split()[0] == "size")
    return {line.split()[0]: line.split()[1:] for line in lines[first + 1 :] if line.startswith(" ")}


def test_the_table_has_each_size_with_time_memory_and_ceiling(project: ChangeParams, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(gpu="t4")
    output = capsys.readouterr().out
    rows = table(output)
    assert "t4" in output and "estimated" in output
    assert list(rows) == ["32", "256", "384", "512", "640/512", "640"]
    assert all("?" not in row and row[0] == "2" for row in rows.values())
    assert rows["640"][-2:] == ["1.0000", CLASSES[0]] and rows["32"][-1] == CLASSES[1]


def test_the_document_has_the_rows_of_the_table(project: ChangeParams, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(gpu="t4", as_json=True)
    document = json.loads(capsys.readouterr().out)
    rows = {row["size"]: row for row in document["sizes"]}
    assert document["card"] == "t4" and list(rows) == ["32", "256", "384", "512", "640/512", "640"]
    assert rows["640"]["batch"] == 2 and rows["640"]["epoch_s"] > 0 and rows["640"]["ceiling"]["mean"] == pytest.approx(1, abs=1e-3)


def test_of_a_memory_no_time_is_known(project: ChangeParams, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(gpu_gb=24)
    assert all(row[2:4] == ["?", "?"] for row in table(capsys.readouterr().out).values())


def test_a_gpu_of_this_machine_runs_steps(
    project: ChangeParams, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = SimpleNamespace(name="Some Card", total_memory=2**34)
    monkeypatch.setattr(plan, "choose_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(plan, "measured_steps", lambda params, device: lambda side: lambda images: Trial(0.5, side * 2**20))
    print_plan()
    output = capsys.readouterr().out
    assert "Some Card" in output and "measured" in output and table(output)["512"][:3] == ["2", "0.5", "0.5"]


def test_no_gpu_and_no_card_is_one_error(project: ChangeParams, fails: Fails) -> None:
    with fails("plan.card"):
        print_plan()


def test_the_synthetic_data_set_can_be_planned_before_it_exists(change_params: ChangeParams, capsys: pytest.CaptureFixture[str]) -> None:
    change_params({"data.root": "data/phantom", "phantom.size": 256})
    print_plan(gpu="t4")
    output, notes = capsys.readouterr()
    assert "dvc repro preprocess" in notes and list(table(output)) == ["32", "256"]


def test_other_data_must_be_cached_first(change_params: ChangeParams, fails: Fails) -> None:
    with fails("plan.data", str(paths.TRAIN_INDEX)) as error:
        print_plan(gpu="t4")
    assert "dvc repro preprocess" in str(error.value)


def test_a_choice_becomes_a_preset_that_keeps_everything_else(project: ChangeParams, capsys: pytest.CaptureFixture[str]) -> None:
    project({"train.lr": 0.002, "train.epochs": 7})
    before = load_params()
    print_plan(gpu="t4", write=("mine", "640/256"))
    assert list(table(capsys.readouterr().out)) == ["640/256"]
    chosen = preset_params("mine", Path("presets"))
    assert (chosen.train.size, chosen.train.crop, chosen.train.batch_size, chosen.infer.window_size) == (640, 256, 2, 256)
    kept = {"size", "crop", "batch_size"}
    assert chosen.train.model_dump(exclude=kept) == before.train.model_dump(exclude=kept) and chosen.model == before.model
    write_preset("mine", force=True)
    assert load_params() == chosen


def test_a_preset_says_only_what_differs_with_a_reason(project: ChangeParams) -> None:
    print_plan(gpu="t4", write=("mine", "256"))
    text, defaults = Path("presets/mine.yaml").read_text(), Params().model_dump()
    assert text.startswith("# For t4")
    for section, values in yaml.safe_load(text).items():
        for key, value in values.items() if isinstance(values, dict) else ():
            assert value != defaults[section][key]
            assert any(line.strip().startswith(f"{key}:") and "#" in line for line in text.splitlines()), key


@pytest.mark.parametrize(
    ("name", "size", "code"),
    [("mine", "huge", "plan.size"), ("a/b", "256", "plan.name"), ("..", "256", "plan.name"), ("old", "256", "plan.exists")],
)
def test_a_preset_that_cannot_be_written_is_an_error(project: ChangeParams, fails: Fails, name: str, size: str, code: str) -> None:
    Path("presets").mkdir()
    Path("presets/old.yaml").write_text("# For old.\n")
    with fails(code):
        print_plan(gpu="t4", write=(name, size))
    assert [path.name for path in Path("presets").iterdir()] == ["old.yaml"]


def test_a_size_that_does_not_fit_is_not_written(project: ChangeParams, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.setattr(plan, "estimated_steps", lambda params, card: lambda side: lambda images: Trial(1.0, 2**50))
    with fails("plan.memory"):
        print_plan(gpu="t4", write=("mine", "512"))
    assert not Path("presets/mine.yaml").exists()
