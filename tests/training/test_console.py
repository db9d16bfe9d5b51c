"""What a training prints: in a log file lines alone, on a terminal also a bar that moves with every batch."""

import io
import re
from pathlib import Path

import pytest
from torch import nn

from handbone.training import console
from handbone.training.checkpoint import Checkpoint
from handbone.training.console import Console, format_epoch
from handbone.training.watching import EpochReport, TrainingStart
from small_training import SmallTraining, make_files, scored
from training_params import PARAMS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


START = TrainingStart(False, [], epochs=10, batches=3, batches_done=0, best_epoch=0, best_dice=-1.0, device="cpu")


def report(dice: float | None = 0.5, best_epoch: int = 2, epoch: int = 4) -> EpochReport:
    rows = [{"epoch": epoch, "lr": 0.1, "loss": 0.25, "dice": dice}]
    class_dice = None if dice is None else [0.9, 0.2, 0.4, 0.3]
    return EpochReport(rows, best_epoch, 0.75, class_dice, 12.34, 2**30, 60.0, nn.Identity())


def test_a_line_names_loss_dice_the_best_and_the_worst_classes() -> None:
    line = format_epoch(report(), 10, ["a", "b", "c", "d"])
    assert re.fullmatch(
        r"epoch 4/10: loss 0\.2500; Dice 0\.5000 \(best 0\.7500 after epoch 2\); worst b 0\.20, d 0\.30, c 0\.40; "
        r"12\.3 images/s; until \w+ \S+",
        line,
    )
    assert "(the best)" in format_epoch(report(best_epoch=4), 10, list("abcd"))


def test_an_epoch_without_a_score_has_no_dice_and_the_last_one_no_end() -> None:
    assert "Dice" not in format_epoch(report(None), 10, list("abcd"))
    assert "until" not in format_epoch(report(epoch=10), 10, list("abcd"))


def train(folder: Path, epochs: int) -> None:
    small = SmallTraining(make_files(folder), PARAMS.model_copy(update={"epochs": epochs, "validate_every": 2}))
    small.trainer.fit(scored(0.5), Checkpoint(folder / "resume"), "fold 0", [Console("fold 0", ["a", "b"])])


def test_a_log_file_has_a_line_per_score_and_no_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, 5)
    printed = capsys.readouterr()
    assert re.findall(r"^fold 0: epoch (\d)/5: loss", printed.out, re.M) == ["2", "4", "5"]
    assert printed.err == "" and "\r" not in printed.out


def test_where_scores_are_rare_there_is_a_line_a_minute(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    watcher = Console("fold 0", list("abcd"), clock=lambda: now[0])
    watcher.start(START)
    for epoch in range(1, 7):
        now[0] += 25
        watcher.epoch_done(report(None, epoch=epoch))
    assert re.findall(r"epoch (\d)/10", capsys.readouterr().out) == ["3", "6"]


def test_the_bar_moves_with_every_batch_from_the_first_epoch_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(console.tqdm, "monitor_interval", 0)
    monkeypatch.setattr(console, "tqdm", _every_update(console.tqdm))
    train(tmp_path, 2)
    drawn = terminal.getvalue()
    assert re.findall(r"epoch (\d)/2: .*? (\d)/6 ", drawn)[:3] == [("1", "1"), ("1", "2"), ("1", "3")]
    assert "best=0.5000" in drawn and "-1" not in drawn


def test_after_a_resume_the_bar_starts_where_the_training_was(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    watcher = Console("fold 0", list("abcd"))
    watcher.start(START)
    watcher.batch_done(4, 2)
    watcher.close()
    assert re.findall(r"epoch (\d+)/10: .*? (\d+)/30 ", terminal.getvalue())[-1] == ("4", "11")


def _every_update(bar: type) -> type:
    """A bar that is drawn at each update, however fast they come."""

    class Eager(bar):  # type: ignore[misc,valid-type]
        def __init__(self, **options: object) -> None:
            super().__init__(**options, mininterval=0, miniters=1)

    return Eager
