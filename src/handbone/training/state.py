"""Everything that a training changes, and therefore everything that its checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from handbone.training.weight_averaging import Ema, Swa

CurveRow = dict[str, float | int | None]
CURVE_COLUMNS = ["epoch", "lr", "loss", "dice"]


@dataclass
class Progress:
    """The learning curve so far, and the averaged weights of the best epoch.

    rows: one per finished epoch; dice is null in epochs that were not validated. losses: of the batches of the current epoch, NaN or
    infinite only if the optimizer skipped the step. skipped: the number of such steps, skipped_in_a_row: of the last ones.
    """

    rows: list[CurveRow] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best_dice: float = -1.0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    skipped: int = 0
    skipped_in_a_row: int = 0

    @property
    def epochs_done(self) -> int:
        """The number of finished epochs."""
        return len(self.rows)

    def scores(self) -> list[float]:
        """Every Dice so far, in order."""
        return [row["dice"] for row in self.rows if row["dice"] is not None]

    def finish_epoch(self, epoch: int, lr: float, dice: float | None) -> None:
        """Add the row of an epoch: the mean of its batches' finite losses (null if there is none), its learning rate and its Dice."""
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        loss = round(sum(finite) / len(finite), 6) if finite else None
        self.rows.append({"epoch": epoch, "lr": round(lr, 10), "loss": loss, "dice": dice})
        self.losses.clear()

    def count_step(self, skipped: bool) -> None:
        """Count a step of the optimizer that was or was not skipped."""
        self.skipped += skipped
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0

    def keep_if_best(self, epoch: int, dice: float, model: nn.Module) -> None:
        """Keep a copy of the weights of `model` if no earlier epoch has a Dice as high."""
        if dice > self.best_dice:
            self.best_weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
            self.best_epoch, self.best_dice = epoch, dice


def curve_table(rows: Sequence[CurveRow]) -> pd.DataFrame:
    """The learning curve as a table: epoch, lr, loss, dice; an empty cell in epochs that were not validated."""
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


@dataclass
class TrainState:
    """The parts of a training that change.

    model, optimizer: as `accelerator.prepare` returns them; bare_model: the model without the wrapper for several processes; swa: null if
    it is off.
    """

    accelerator: Accelerator
    model: nn.Module
    bare_model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema
    swa: Swa | None
    progress: Progress = field(default_factory=Progress)

    @property
    def averaged_model(self) -> nn.Module:
        """The model that is validated and kept: SWA's mean once it has begun, else the moving average."""
        return self.swa.model if self.swa is not None and self.swa.count else self.ema.model

    def nbytes(self) -> tuple[int, int]:
        """The size of the whole state on disk, with the moments that the optimizer will have, and of the weights that are kept."""
        weights = sum(tensor.nbytes for tensor in self.bare_model.state_dict().values())
        moments = 2 * sum(parameter.nbytes for parameter in self.bare_model.parameters() if parameter.requires_grad)
        copies = 3 + (self.swa is not None)  # of the weights: those in training, their average, the best
        return copies * weights + moments, weights

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only."""
        scaler = self.accelerator.scaler
        return {
            "model": self.bare_model.state_dict(),
            "ema": self.ema.model.state_dict(),
            "ema_steps": self.ema.steps,
            "swa": self.swa.model.state_dict() if self.swa else {},
            "swa_count": self.swa.count if self.swa else 0,
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "progress": vars(self.progress),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.bare_model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.ema.steps = state["ema_steps"]
        if self.swa is not None:
            self.swa.model.load_state_dict(state["swa"])
            self.swa.count = state["swa_count"]
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler and state["scaler"]:  # none if it was saved on a GPU with bf16, and this is an older one
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
