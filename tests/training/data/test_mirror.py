"""Left and right: classes swap in the targets of mirrored images, and only there."""

from pathlib import Path

import numpy as np
import pytest

from handbone.cache.sample import CachedSample, write_sample
from handbone.config.params import mirrored_classes
from handbone.masks.boxed import BoxedMasks
from handbone.masks.packed import PackedMasks
from handbone.training.data.augment import Augmenter
from handbone.training.data.dataset import TrainingSet, TrainSampleSpec

SIDE = 64
ORDER = mirrored_classes(["left", "middle", "right"], {"right": "left"})
FLIP, TURN = {"HorizontalFlip": {"p": 1}}, {"Affine": {"rotate": [180, 180], "p": 1}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A tall mask on the left, a wide one in the middle, a small one on the right; the image is bright where a mask is."""
    masks = np.zeros((3, SIDE, SIDE), bool)
    masks[0, 8:40, 4:12], masks[1, 4:8, 20:44], masks[2, 8:16, 52:60] = True, True, True
    image = masks.any(0).astype(np.uint8) * 255
    write_sample(tmp_path / "0.npz", CachedSample(image, (SIDE, SIDE), PackedMasks.pack(BoxedMasks.from_dense(masks))))
    return tmp_path / "0.npz"


def draw(file: Path, transforms: list, mirrored: list[int] | None, **changes: object) -> tuple[np.ndarray, np.ndarray]:
    """The image and its target, (h, w) and (3, h, w), both 0..255."""
    side = changes.get("crop", SIDE)
    spec = TrainSampleSpec(1, SIDE, (side, side), 1, mirrored=mirrored, **changes)
    image, target, _ = TrainingSet([file], spec, Augmenter(transforms, 1))[0, 0, 0]
    return image[0], target.dense()


def test_the_target_of_a_mirrored_image_has_the_partners_names(file: Path) -> None:
    _, plain = draw(file, [], ORDER)
    image, mirrored = draw(file, [FLIP], ORDER)
    assert np.array_equal(mirrored.max(0), image)
    assert np.array_equal(mirrored, plain[[2, 1, 0]][..., ::-1])
    assert mirrored[0, :, : SIDE // 2].any() and not mirrored[0, :, SIDE // 2 :].any(), "what is called left is on the left again"


@pytest.mark.parametrize("transforms", [[], [TURN], [FLIP, {"VerticalFlip": {"p": 1}}], [{"RandomRotate90": {"p": 1}}], [FLIP, FLIP]])
def test_nothing_swaps_where_nothing_is_mirrored(file: Path, transforms: list) -> None:
    assert np.array_equal(draw(file, transforms, ORDER)[1], draw(file, transforms, None)[1])


@pytest.mark.parametrize(
    "transforms",
    [
        [{"VerticalFlip": {"p": 1}}],
        [{"Transpose": {"p": 1}}],
        [FLIP, TURN],
        [FLIP, {"ElasticTransform": {"p": 1}}],
        [FLIP, {"Perspective": {"p": 1}}],
    ],
)
def test_every_warp_that_reverses_the_orientation_swaps(file: Path, transforms: list) -> None:
    assert np.array_equal(draw(file, transforms, ORDER)[1], draw(file, transforms, None)[1][[2, 1, 0]])


def test_windows_are_centred_on_a_class_under_its_name_in_the_mirrored_image(file: Path) -> None:
    """Class 0 is small after the swap: whole in a window around any pixel of it."""
    for seed in range(20):
        spec = TrainSampleSpec(1, SIDE, (20, 20), seed, 20, {0: 1e9}, mirrored=ORDER)
        target = TrainingSet([file], spec, Augmenter([FLIP], 1))[0, 0, 0][1]
        assert target.dense()[0].any()


def test_pairs_may_be_given_in_either_direction_and_none_is_none() -> None:
    assert ORDER == mirrored_classes(["left", "middle", "right"], {"left": "right"}) == [2, 1, 0]
    assert mirrored_classes(["left", "right"], {}) is None
