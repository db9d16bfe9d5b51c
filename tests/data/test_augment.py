"""Any transform by name, and a packed mask that moves as every class alone would."""

import numpy as np
import pytest

from handbone.data.augment import Augmenter
from handbone.errors import UserError

GEOMETRY = [
    {"HorizontalFlip": {"p": 1}},
    {"Affine": {"rotate": [-30, 30], "scale": [0.8, 1.2], "p": 1}},
    {"ElasticTransform": {"alpha": 20, "sigma": 5, "p": 1}},
    {"GridDistortion": {"p": 1}},
]


def sample(classes_planes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (96, 80), np.uint8), rng.integers(0, 256, (96, 80, 4 * classes_planes), np.uint8)


@pytest.mark.parametrize("planes", [1, 2])
def test_each_class_moves_as_it_would_alone(planes: int) -> None:
    image, packed = sample(planes)
    augmenter = Augmenter(GEOMETRY, 1)
    _, moved = augmenter(image, packed, seed=5)
    for byte in range(4 * planes):
        for bit in range(8):
            _, alone = augmenter(image, packed[..., byte] >> bit & 1, seed=5)
            assert np.array_equal(moved[..., byte] >> bit & 1, alone)


def test_image_and_mask_move_together() -> None:
    _image, _ = sample()
    smooth = np.broadcast_to(np.arange(80, dtype=np.uint8) * 3, (96, 80)).copy()
    moved, mask = Augmenter([{"HorizontalFlip": {"p": 1}}], 1)(smooth, np.repeat(smooth[..., None], 4, 2), 0)
    assert np.array_equal(moved, mask[..., 0]) and moved[0, 0] == 79 * 3


def test_the_seed_alone_decides() -> None:
    image, packed = sample()
    first, second = Augmenter(GEOMETRY, 1), Augmenter(GEOMETRY, 1)
    first(image, packed, 99)  # leaves no trace
    for one, other in zip(first(image, packed, 7), second(image, packed, 7), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(first(image, packed, 7)[0], first(image, packed, 8)[0])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"HorizontalFlap": {"p": 1}}, "HorizontalFlip"),
        ({"Affine": {"rotatte": 3}}, "rotatte"),
        ({"RandomCrop": {"height": 32, "width": 32}}, "32x32"),
        ({"Affine": {"rotate": [20, 30], "mask_interpolation": 1, "p": 1}}, "mixes"),
        ({"Morphological": {"p": 1}}, "mixes"),
        ({"ISONoise": {"p": 1}}, "1 channels"),
    ],
)
def test_what_cannot_be_used_is_told_at_load(wrong: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        Augmenter([wrong], 1)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(UserError) as error:
        Augmenter([{"Nope": {}}, {"HorizontalFlip": {}}, {"NopeToo": {}}], 3)
    assert "entry 0" in str(error.value) and "entry 2" in str(error.value) and "entry 1" not in str(error.value)
