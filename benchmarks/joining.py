"""What deciding rests on: members joined at full resolution, histograms for every threshold, clean-up of masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.logits import plain_maps
from benchmarks.scene import SIDE, SIZE, Scene, make_logits
from benchmarks.submission import TEST_IMAGES
from benchmarks.table import ResultRow, check
from benchmarks.timing import elapsed_ms, interleaved, peak_mb
from handbone.masks.boxed import BoxedMasks, Mask
from handbone.masks.components import Components, Rules, clean
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.histogram import counts_at, histograms
from handbone.masks.joined import joined_masks
from handbone.masks.rle import encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.utils.parallel import THREADS, prefetch_map

SHAPE, MEMBERS = (SIDE, SIDE), 6
SIZES = [SIZE, 2 * SIZE] * (MEMBERS // 2)
THRESHOLDS = range(30, 510, 30)  # of the usual sweep, in half steps
SPECK, MIN_AREA = 3, 50  # pixels: side of a speck, and what is dropped


def joined(scene: Scene) -> list[ResultRow]:
    """Six members of one size, then of two sizes, of one image; then of a whole test set, from files."""
    usual = "baseline: cv2.resize of each member's class in float32, mean, threshold"
    return [
        _joined(scene, "joined", [SIZE] * MEMBERS, "100", f"{MEMBERS} members of {SIZE} px; {usual}; the same masks"),
        _joined(scene, "joined_sizes", SIZES, "30", f"{MEMBERS} members of {SIZE} and {2 * SIZE} px; {usual}; the same masks"),
        _whole_set(scene),
    ]


def _members(scene: Scene, sizes: Sequence[int], index: int = 0) -> list[NDArray[np.uint8]]:
    """What networks with different errors could give for one image: (C, h, w) of each."""
    truth = scene.dense(index)
    return [plain_maps(make_logits(truth, size, MEMBERS * index + seed)) for seed, size in enumerate(sizes)]


def _ones(scene: Scene) -> NDArray[np.int64]:
    return np.ones((MEMBERS, len(scene.classes)), np.int64)


def _join(members: Sequence[CroppedMaps], weights: NDArray[np.int64]) -> RunLengthMasks:
    return joined_masks(members, weights, SHAPE, np.full(weights.shape[1], 0.5))


def _mean(maps: Sequence[NDArray[np.uint8]], index: int) -> NDArray[np.float32]:
    """M times (C, h, w) -> (H, W) in 0..255 of one class, the usual way. Exact here: at powers of two, float32 holds every sum."""
    total = np.zeros(SHAPE, np.float32)
    for one in maps:
        total += cv2.resize(one[index].astype(np.float32), SHAPE, interpolation=cv2.INTER_LINEAR)
    total /= len(maps)
    return total


def _plain_join(maps: Sequence[NDArray[np.uint8]]) -> list[Mask]:
    return [_mean(maps, index) > 127.5 for index in range(len(maps[0]))]


def _joined(scene: Scene, name: str, sizes: Sequence[int], aim: str, note: str) -> ResultRow:
    maps = _members(scene, sizes)
    members, weights = [CroppedMaps.from_dense(one) for one in maps], _ones(scene)
    plain, ours = partial(_plain_join, maps), partial(_join, members, weights)
    check(np.array_equal(ours().boxed().dense(), np.stack(plain())), f"{name}: the masks")
    slow, fast = interleaved([plain, ours], scene.rounds(3), (1, 9))
    return ResultRow(name, slow, fast, peak_mb(ours), aim, note)


def _whole_set(scene: Scene) -> ResultRow:
    """As `submit` does: threads read the maps, join and encode, the caller takes one image after the other."""
    files, weights, images = _files(scene), _ones(scene), 8 if scene.quick else TEST_IMAGES

    def encode(index: int) -> list[str]:
        return encode_runs(_join([CroppedMaps.load(file) for file in files[index % len(files)]], weights))

    def work() -> None:
        for _ in prefetch_map(encode, range(images)):
            pass

    encode(0)  # loads the kernels, so that their memory is not counted
    ms = elapsed_ms(work)
    sizes = f"{MEMBERS} members of {SIZE} and {2 * SIZE} px"
    note = f"{images} images, {sizes}, {THREADS} threads: read, join, encode in {ms / 1e3:.1f} s; ms per image"
    return ResultRow("joined_set", None, ms / images, peak_mb(work), "", note)


def _files(scene: Scene) -> list[list[Path]]:
    """The stored maps of the members of some images."""
    folder = scene.folder / "members"
    folder.mkdir()
    stored = [[folder / f"{index}_{number}.npz" for number in range(MEMBERS)] for index in range(1 if scene.quick else 3)]
    for index, paths in enumerate(stored):
        for maps, path in zip(_members(scene, SIZES, index), paths, strict=True):
            CroppedMaps.from_dense(maps).save(path)
    return stored


def sweep(scene: Scene) -> list[ResultRow]:
    """The counts of one member at many thresholds: from histograms, and from masks at each threshold of a coarse grid."""
    (maps,), truth, dense = _members(scene, [SIZE]), RunLengthMasks.from_packed(scene.masks(0)), scene.dense(0)
    member, weights = [CroppedMaps.from_dense(maps)], _ones(scene)[:1]

    def plain() -> NDArray[np.int64]:
        return np.stack([_plain_sweep(_mean([maps], index), mask) for index, mask in enumerate(dense)])

    def ours() -> NDArray[np.int64]:
        return counts_at(histograms(member, weights, truth))

    check(np.array_equal(ours()[:, THRESHOLDS], plain()), "sweep: the counts")
    slow, fast = interleaved([plain, ours], scene.rounds(3), (1, 9))
    note = f"ours: the counts at all 510 thresholds k/510; baseline: upsampled once, then {len(THRESHOLDS)} thresholds; the same counts"
    return [ResultRow("sweep", slow, fast, peak_mb(ours), "50", note)]


def _plain_sweep(plane: NDArray[np.float32], truth: Mask) -> NDArray[np.int64]:
    """(H, W) in 0..255 and its truth -> (T, 3) counts."""
    counts, area = [], np.count_nonzero(truth)
    for half_steps in THRESHOLDS:
        mask = plane > half_steps / 2
        both = np.count_nonzero(mask & truth)
        counts.append([both, np.count_nonzero(mask) - both, area - both])
    return np.array(counts)


def clean_up(scene: Scene) -> list[ResultRow]:
    """Small components dropped and holes filled, in masks with many of both."""
    dense = _speckled(scene.dense(0))
    masks, classes = RunLengthMasks.from_boxed(BoxedMasks.from_dense(dense)), len(dense)
    rules = Rules(np.zeros(classes, bool), np.full(classes, MIN_AREA), np.ones(classes, bool))

    def ours() -> RunLengthMasks:
        return clean(masks, rules)

    def plain() -> list[Mask]:
        return [_plain_clean(mask) for mask in dense]

    check(np.array_equal(ours().boxed().dense(), np.stack(plain())), "clean_up: the masks")
    truth = RunLengthMasks.from_packed(scene.masks(0))
    components = Components.of(masks, truth)
    works = [plain, ours, lambda: Components.of(masks, truth), lambda: components.counts(rules)]
    slow, fast, found, counted = interleaved(works, scene.rounds(3), (1, 9, 9, 9))
    steps = f"components with their overlaps {found:.2f} ms, from them the counts under one more rule {counted:.3f} ms"
    note = (
        f"{len(components.parents)} components; baseline: cv2.connectedComponentsWithStats of each dense mask and its background; {steps}"
    )
    return [ResultRow("clean_up", slow, fast, peak_mb(ours), "10", note)]


def _speckled(masks: Mask) -> Mask:
    """Masks with pixels flipped in small squares, so that there are specks and holes."""
    rng = np.random.default_rng(0)
    specks = np.zeros(masks.shape, np.uint8)
    specks[rng.random(masks.shape, np.float32) < 2e-5] = 1
    flipped = np.stack([cv2.dilate(one, np.ones((SPECK, SPECK), np.uint8)) for one in specks])
    speckled: Mask = masks ^ flipped.astype(bool)
    return speckled


def _plain_clean(mask: Mask) -> Mask:
    """(H, W) -> (H, W) without components below `MIN_AREA`, its holes filled."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= MIN_AREA
    kept[0] = False
    background = (~kept[labels]).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
    left, top, width, height = stats[:, :4].T
    holes = (left > 0) & (top > 0) & (left + width < mask.shape[1]) & (top + height < mask.shape[0])
    holes[0] = True  # the label of what is no background
    return np.asarray(holes[labels], bool)
