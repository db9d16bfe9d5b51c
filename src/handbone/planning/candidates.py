"""The sizes of images and windows that a training may choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handbone.config.params import Params, parse_params
from handbone.utils.errors import Problem, UserError

SIZES = (256, 384, 512, 768, 1024, 1536, 2048, 3072)  # pixels, longer side of the images
WINDOWS = (512, 1024)  # pixels, side of windows in images of the largest size
WINDOW_IMAGES = 2  # infer.batch_size with windows: the maps of whole images at the largest size take memory as well


@dataclass(frozen=True)
class Candidate:
    """size: `train.size`; crop: `train.crop`, null for whole images. Both in pixels."""

    size: int
    crop: int | None = None

    @property
    def side(self) -> int:
        """Of what the network sees."""
        return self.crop or self.size

    def __str__(self) -> str:
        return str(self.size) if self.crop is None else f"{self.size}/{self.crop}"

    def applied(self, params: Params, batch: int) -> Params:
        """The parameters with this size and batch. Windows in training are windows in prediction, half of them overlapping."""
        document: dict[str, Any] = params.model_dump()
        document["train"] |= {"size": self.size, "crop": self.crop, "batch_size": batch}
        if self.crop is None:
            document["infer"] |= {"window_size": None, "window_stride": None}
        else:
            document["infer"] |= {"window_size": self.crop, "window_stride": max(1, self.crop // 2), "batch_size": WINDOW_IMAGES}
        return parse_params(document, f"the choice {self}")


def candidates(params: Params, largest: int) -> list[Candidate]:
    """Whole images up to `largest`, the longer side of the cached images in pixels, windows of it, and what params.yaml has; by size."""
    whole = {Candidate(size) for size in (*SIZES, largest) if size <= largest}
    windows = {Candidate(largest, side) for side in WINDOWS if side < largest}
    size, crop = min(params.train.size, largest), params.train.crop  # images are never enlarged
    current = {Candidate(size, None if crop is None or crop >= size else crop)}
    return sorted(whole | windows | current, key=lambda each: (each.size, each.crop or each.size))


def parse_candidate(text: str, largest: int) -> Candidate:
    """`1024`, or `2048/1024` for windows of 1024 px in images of 2048 px. Raises `UserError` (`plan.size`) for anything else."""
    size, _, crop = text.partition("/")
    sides = [int(part) for part in (size, *([crop] if "/" in text else [])) if part.isdecimal()]
    if len(sides) != 1 + ("/" in text) or not 32 <= sides[-1] <= sides[0] <= largest:
        expected = f"a size of 32 to {largest} px, e.g. {largest // 2}, or size/window, e.g. {largest}/{largest // 2}"
        raise UserError(Problem("plan.size", "--write", expected, repr(text), "take one from the first column of the table"))
    return Candidate(*sides)
