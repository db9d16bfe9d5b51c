"""Records of experiment trackers, read back by their own libraries; and the trained bits, which they do not change."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from dvc.utils.serialize import load_json, load_yaml
from dvclive.utils import parse_tsv
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from conftest import Fails
from handbone.training import checkpoint_writer, tracker
from handbone.training.checkpoint import Checkpoint
from handbone.training.records import Record
from handbone.training.state import Progress
from handbone.training.tracker import Tracker, require_tracker
from small_training import SmallTraining, make_files, scored
from training_params import PARAMS

CLASSES = ["finger-1", "a/b (left)"]
RUN = "fold_0-0123abcd"
DRAWN: NDArray[np.uint8] = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


class KilledError(Exception):
    """Simulates a kill."""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """In the working directory; only the first epoch of each training is saved, so that others are trained again after a kill."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(checkpoint_writer.CheckpointWriter, "due", lambda self, epoch_ended=False: epoch_ended and self._write is None)
    return make_files(tmp_path)


def train(files: list[Path], kind: str | None, stop_at: int | None = None) -> Progress:
    """Five epochs, of which the second, fourth and fifth are scored. stop_at: raise `KilledError` in the score of that epoch."""
    small = SmallTraining(files, PARAMS, tracker=kind)

    def evaluate(model: nn.Module) -> NDArray[np.float64]:
        if small.batches.epoch == stop_at:
            raise KilledError
        return scored(small.batches.epoch / 10)(model)

    settings = {"train": {"lr": 0.01, "swa_epochs": None}, "fold": 0}
    watchers = [] if kind is None else [Tracker(small.accelerator, kind, RUN, CLASSES, settings, draw)]
    return small.trainer.fit(evaluate, Checkpoint(Path("resume") / str(kind)), "test", watchers)


def draw(_: nn.Module) -> Mapping[str, NDArray[np.uint8]]:
    return {"ID001/image1": DRAWN, "ID002/image2": DRAWN}


def killed_and_resumed(files: list[Path], kind: str) -> Progress:
    """The second, third and fourth epoch are trained twice."""
    with pytest.raises(KilledError):
        train(files, kind, stop_at=5)
    return train(files, kind)


def digest(weights: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(save({name: tensor.contiguous() for name, tensor in weights.items()})).hexdigest()


def read_tensorboard() -> EventAccumulator:
    events = EventAccumulator(f"logs/tensorboard/{RUN}", size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events


def test_tensorboard_has_one_record_of_a_resumed_training_and_the_bits_are_the_same(files: list[Path]) -> None:
    plain, recorded = train(files, None), killed_and_resumed(files, "tensorboard")
    assert digest(recorded.best_weights) == digest(plain.best_weights) and recorded.rows == plain.rows
    assert os.listdir("logs/tensorboard") == [RUN]
    events = read_tensorboard()
    loss = events.Scalars("loss")
    assert [point.step for point in loss] == [1, 2, 3, 4, 5]
    assert [point.value for point in loss] == pytest.approx([row["loss"] for row in plain.rows])
    assert [(point.step, round(point.value, 3)) for point in events.Scalars("dice")] == [(2, 0.2), (4, 0.4), (5, 0.5)]
    assert {"lr", "images_per_second", "memory_gib", "best_dice"} <= set(events.Tags()["scalars"])
    assert [point.step for point in events.Scalars("dice_per_class/a_b__left_")] == [2, 4, 5]
    pictures = events.Images("held_out/ID001_image1")
    assert [(picture.step, picture.width, picture.height) for picture in pictures] == [(2, 6, 4), (4, 6, 4), (5, 6, 4)]
    (text,) = events.Tensors("parameters/text_summary")
    assert b"train.swa_epochs: None" in text.tensor_proto.string_val[0]


def test_a_training_from_the_start_replaces_the_record_in_tensorboard(files: list[Path]) -> None:
    for _ in range(2):
        train(files, "tensorboard")
        Checkpoint(Path("resume/tensorboard")).remove()
    assert [point.step for point in read_tensorboard().Scalars("loss")] == [1, 2, 3, 4, 5]


def test_dvclive_has_one_record_of_a_resumed_training_and_the_bits_are_the_same(files: list[Path]) -> None:
    plain, recorded = train(files, None), killed_and_resumed(files, "dvclive")
    assert digest(recorded.best_weights) == digest(plain.best_weights)
    folder = Path("logs/dvclive") / RUN
    rows = parse_tsv(folder / "plots/metrics/loss.tsv")
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in plain.rows]
    assert [row["step"] for row in parse_tsv(folder / "plots/metrics/dice_per_class/finger-1.tsv")] == ["2", "4", "5"]
    metrics = load_json(folder / "metrics.json")  # as DVC reads it
    assert metrics["step"] == 5 and metrics["dice_per_class"] == {"finger-1": 0.5, "a_b__left_": 0.5}
    assert load_yaml(folder / "params.yaml")["train.lr"] == 0.01
    pictures = sorted((folder / "plots/images/held_out/ID001_image1").iterdir())
    assert [picture.name for picture in pictures] == ["0002.png", "0004.png", "0005.png"]
    assert np.array_equal(np.asarray(Image.open(pictures[0])), DRAWN)
    assert not list(Path().rglob("dvc.yaml")) and not Path(".git").exists()


def test_a_package_that_is_not_installed_is_an_error(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tracker(None)
    require_tracker("tensorboard")
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with fails("tracker.missing", "machine.tracker"):
        require_tracker("wandb")


def test_a_tracker_that_does_not_start_is_an_error_before_the_training(
    files: list[Path], fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Record) -> None:
        raise RuntimeError("log in first\nand more")

    monkeypatch.setattr("handbone.training.records.DVCLiveRecord.options", refuse)
    with fails("tracker.start", "machine.tracker") as error:
        train(files, "dvclive")
    assert error.value.problems[0].found == "log in first"


def test_a_tracker_that_fails_later_is_a_warning(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("handbone.training.records.DVCLiveRecord.add_pictures", refuse)
    assert len(train(files, "dvclive").rows) == 5
    printed = capsys.readouterr().err
    assert printed.count("no network") == 1 and "epoch 2" in printed


def test_names_that_become_equal_get_numbers() -> None:
    assert tracker._metric_names(["a/b", "a b", "c"]) == ["00_a_b", "01_a_b", "02_c"]
