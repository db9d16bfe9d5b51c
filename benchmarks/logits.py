"""From a network's logits to a score, and to a submission."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import baseline, plain
from benchmarks.scene import SIDE, Scene
from benchmarks.table import ResultRow, check
from benchmarks.timing import Work, interleaved, peak_mb
from handbone.evaluation.dice import count, dice
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.masks.rle import encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.masks.upsample import full_masks


def plain_maps(logits: Tensor) -> NDArray[np.uint8]:
    """(C, h, w) logits -> probabilities in 0..255, by a sigmoid of every pixel."""
    maps: NDArray[np.uint8] = logits.sigmoid().mul_(255).round_().to(torch.uint8).numpy()
    return maps


def _masks(logits: Tensor) -> RunLengthMasks:
    return full_masks(CroppedMaps.from_logits(logits.numpy()), (SIDE, SIDE), 0.5)


def _counts(logits: Tensor, truth: PackedMasks) -> NDArray[np.int64]:
    return count(_masks(logits), RunLengthMasks.from_packed(truth))


def _scene(scene: Scene) -> tuple[Tensor, PackedMasks, NDArray[np.bool_]]:
    return scene.logits[0], scene.masks(0), scene.dense(0)


def score_512(scene: Scene) -> list[ResultRow]:
    """Logits -> per-class Dice against the truth at full resolution."""
    logits, packed, truth = _scene(scene)
    runs, expected = _masks(logits), plain.masks(plain_maps(logits), SIDE)
    check(np.array_equal(runs.boxed().dense(), expected), "score_512: the masks")
    check(np.array_equal(_counts(logits, packed), plain.counts(expected, truth)), "score_512: the counts")
    differing = np.count_nonzero(baseline.masks(logits, SIDE).numpy() != expected)
    dense = torch.from_numpy(truth).float()
    works: list[Work] = [lambda: baseline.dice(dense, baseline.masks(logits, SIDE)), lambda: dice(_counts(logits, packed))]
    slow, fast = interleaved(works, scene.rounds(7), (1, 7))
    steps = _steps(logits, packed, scene.rounds(9))
    note = f"{differing} of {truth.sum()} mask pixels differ from the baseline's, which interpolates logits; {steps}"
    return [ResultRow("score_512", slow, fast, peak_mb(works[1]), "150", note)]


def _steps(logits: Tensor, truth: PackedMasks, rounds: int) -> str:
    """The time of each part of ours."""
    maps = plain_maps(logits)
    cropped = CroppedMaps.from_logits(logits.numpy())
    masks, runs = full_masks(cropped, (SIDE, SIDE), 0.5), RunLengthMasks.from_packed(truth)
    works: dict[str, Work] = {
        "sigmoid of every pixel to uint8 (not part of ours)": partial(plain_maps, logits),
        "logits to cropped uint8": partial(CroppedMaps.from_logits, logits.numpy()),
        "crop of uint8 (on a GPU, in place of the former)": partial(CroppedMaps.from_dense, maps),
        "upsample": lambda: full_masks(cropped, (SIDE, SIDE), 0.5),
        "truth": partial(RunLengthMasks.from_packed, truth),
        "count": lambda: dice(count(masks, runs)),
        "encode": partial(encode_runs, masks),
    }
    times = interleaved(list(works.values()), rounds, [1] * len(works))
    return "steps in ms: " + ", ".join(f"{name} {ms:.2f}" for name, ms in zip(works, times, strict=True))


def score_512_monai(scene: Scene) -> list[ResultRow]:
    """The same against MONAI's Dice of dense masks; both from the same quantised probabilities."""
    from monai.metrics.meandice import compute_dice  # takes seconds, and only this row needs it

    logits, packed, truth = _scene(scene)
    dense = torch.from_numpy(truth)[None].float()

    def monai() -> Tensor:
        masks = torch.from_numpy(plain.masks(plain_maps(logits), SIDE))
        found: Tensor = compute_dice(masks[None].float(), dense, ignore_empty=False)
        return found[0]

    def ours() -> NDArray[np.float64]:
        return dice(_counts(logits, packed))

    check(np.allclose(monai().numpy(), ours(), rtol=0, atol=1e-6), "score_512_monai: the Dice")
    slow, fast = interleaved([monai, ours], scene.rounds(5), (1, 7))
    note = "baseline: F.interpolate of the quantised probabilities, threshold, monai.metrics compute_dice; equal to 1e-6"
    return [ResultRow("score_512_monai", slow, fast, peak_mb(ours), "", note)]


def logits_to_rle_512(scene: Scene) -> list[ResultRow]:
    """Logits -> RLE strings at full resolution."""
    logits, _, _ = _scene(scene)

    def ours() -> list[str]:
        return encode_runs(_masks(logits))

    expected = [baseline.encode(mask) for mask in plain.masks(plain_maps(logits), SIDE)]
    check(ours() == expected, "logits_to_rle_512: the strings")
    works: list[Work] = [lambda: [baseline.encode(mask) for mask in baseline.masks(logits, SIDE).numpy()], ours]
    slow, fast = interleaved(works, scene.rounds(7), (1, 7))
    return [
        ResultRow("logits_to_rle_512", slow, fast, peak_mb(ours), "150", "threshold, upsample, encode; strings equal those of dense masks")
    ]
