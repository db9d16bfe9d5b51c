"""Any transform by name: the image as albumentations moves it, and where its pixels come from."""

import albumentations as A
import numpy as np
import pytest

from handbone.masks.coverage import OUTSIDE
from handbone.training.data.augment import Augmenter
from handbone.training.data.augment_presets import PRESETS
from handbone.utils.errors import UserError

SHAPE = (96, 80)
AFFINE = [
    {"HorizontalFlip": {"p": 1}},
    {"Affine": {"rotate": [-30, 30], "scale": [0.8, 1.2], "translate_percent": [-0.1, 0.1], "shear": [-5, 5], "p": 1}},
    {"Rotate": {"limit": 40, "p": 1}},
    {"RandomBrightnessContrast": {"p": 1}},
    {"CoarseDropout": {"p": 1}},
]
CURVED = [
    {"ElasticTransform": {"alpha": 20, "sigma": 5, "p": 1}},
    {"GridDistortion": {"p": 1}},
    {"Perspective": {"p": 1}},
    {"RandomGridShuffle": {"p": 1}},
    {"Affine": {"rotate": [20, 30], "border_mode": 4, "p": 1}},
    {"CoarseDropout": {"fill_mask": 0, "p": 1}},
]


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


def sources(motion: np.ndarray) -> np.ndarray:
    """(h, w, 2): where each pixel comes from, x and y."""
    if motion.shape[-1] == 2:
        return motion
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.stack([columns, rows, np.ones(SHAPE)], -1) @ motion.T


def inside(places: np.ndarray, margin: float = 1.0) -> np.ndarray:
    return ((places > margin) & (places < np.array(SHAPE[::-1]) - 1 - margin)).all(-1)


@pytest.mark.parametrize("named", AFFINE, ids=lambda named: next(iter(named)))
def test_what_is_affine_is_told_as_a_matrix(named: dict) -> None:
    _, motion = Augmenter([named], 1)(image(), 3)
    assert motion.shape == (2, 3)


@pytest.mark.parametrize("named", CURVED, ids=lambda named: next(iter(named)))
def test_what_is_not_is_told_pixel_by_pixel(named: dict) -> None:
    _, motion = Augmenter([named], 1)(image(), 3)
    assert motion.shape == (*SHAPE, 2)


@pytest.mark.parametrize("transforms", [AFFINE[:1], AFFINE[1:2], AFFINE[:3], *([named] for named in CURVED), AFFINE[:2] + CURVED[:2]])
def test_a_mask_that_albumentations_moves_ends_where_the_motion_says(transforms: list[dict]) -> None:
    """Squares of 8 pixels, moved by albumentations with the same seed, against their corners' lookup: equal but for edges."""
    mask = np.kron(np.random.default_rng(1).integers(0, 2, (12, 10)), np.ones((8, 8))).astype(np.uint8)
    compose = A.Compose([getattr(A, name)(**arguments) for named in transforms for name, arguments in named.items()])
    augmenter = Augmenter(transforms, 1)
    for seed in range(5):
        moved, motion = augmenter(image(), seed)
        compose.set_random_seed(seed)
        expected = compose(image=image(), mask=mask)
        assert np.array_equal(moved, expected["image"])
        places = sources(motion)
        known = inside(places) & (places > OUTSIDE).all(-1)
        x, y = np.rint(places[known]).astype(int).T
        assert (mask[y, x] == expected["mask"][known]).mean() > 1 - 0.03 * len(transforms)


def test_a_matrix_agrees_with_the_image_to_a_hundredth_of_its_range() -> None:
    """The image is a slope, so its values tell where its pixels come from; OpenCV warps in steps of 1/32 pixel."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for values, axis in [(columns, 0), (rows, 1)]:
        moved, motion = Augmenter(AFFINE[:2], 1)((values * 2).astype(np.uint8), 4)
        places = sources(motion)
        assert np.abs(moved / 2 - places[..., axis])[inside(places)].max() < 0.3


def test_the_seed_alone_decides() -> None:
    for transforms in (AFFINE[:2], CURVED[:2]):
        first, second = Augmenter(transforms, 1), Augmenter(transforms, 1)
        first(image(), 99)  # leaves no trace
        for one, other in zip(first(image(), 7), second(image(), 7), strict=True):
            assert np.array_equal(one, other)
        assert not np.array_equal(first(image(), 7)[0], first(image(), 8)[0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "motion"), [("light", (2, 3)), ("medium", (2, 3)), ("strong", (*SHAPE, 2))])
def test_a_preset_passes_the_check_and_is_affine_but_for_the_strong_one(name: str, motion: tuple[int, ...], channels: int) -> None:
    given = image() if channels == 1 else np.stack([image()] * 3, -1)
    moved, told = Augmenter(name, channels)(given, 3)
    assert told.shape == motion
    assert moved.shape == given.shape and moved.dtype == np.uint8


def test_a_preset_is_its_list() -> None:
    for one, other in zip(Augmenter("medium", 1)(image(), 5), Augmenter(PRESETS["medium"], 1)(image(), 5), strict=True):
        assert np.array_equal(one, other)


def test_no_preset_turns_a_hand_upside_down_or_on_its_side() -> None:
    """The image's y axis, as the network sees it, still points down: less than 45 degrees off."""
    for name in PRESETS:
        augmenter = Augmenter(name, 1)
        for seed in range(30):
            places = sources(augmenter(image(), seed)[1])
            down = places[60, 40] - places[36, 40]
            assert down[1] > abs(down[0])


def test_nothing_asked_for_is_nothing_done() -> None:
    moved, motion = Augmenter([], 1)(image(), 0)
    assert np.array_equal(moved, image()) and np.allclose(motion, np.eye(2, 3))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"HorizontalFlap": {"p": 1}}, "HorizontalFlip"),
        ({"Affine": {"rotatte": 3}}, "rotatte"),
        ({"RandomCrop": {"height": 32, "width": 32}}, "32x32"),
        ({"Morphological": {"p": 1}}, "reshapes"),
        ({"Morphological": {"p": 0.01}}, "reshapes"),  # however seldom
        ({"ISONoise": {"p": 1}}, "1 channels"),
    ],
)
def test_what_cannot_be_used_is_told_at_load(wrong: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        Augmenter([wrong], 1)


@pytest.mark.parametrize("named", [{"RandomRotate90": {"p": 1}}, {"Transpose": {"p": 1}}, {"CenterCrop": {"height": 64, "width": 64}}])
def test_what_changes_an_images_size_is_told_when_it_does(named: dict) -> None:
    """On the square probe of 64 px nothing can be seen of it."""
    augmenter = Augmenter([named], 1)
    with pytest.raises(UserError, match=r"keep an image's size; found one that makes \d+x\d+ of 80x96"):
        _ = [augmenter(image(), seed) for seed in range(8)]


def test_square_images_may_be_turned_by_90_degrees() -> None:
    square = image()[:80]
    assert all(Augmenter([{"RandomRotate90": {"p": 1}}], 1)(square, seed)[0].shape == (80, 80) for seed in range(8))


@pytest.mark.parametrize("name", ["ISONoise", "ChannelDropout", "RandomFog"])
def test_where_a_transform_knows_colour_alone_grey_becomes_colour_first(name: str) -> None:
    moved, _ = Augmenter([{name: {"p": 1}}], 3)(image(), 0)
    assert moved.shape == (*SHAPE, 3)
    kept, _ = Augmenter([{"HorizontalFlip": {"p": 1}}], 3)(image(), 0)
    assert kept.shape == SHAPE


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(UserError) as error:
        Augmenter([{"Nope": {}}, {"HorizontalFlip": {}}, {"NopeToo": {}}], 3)
    assert "entry 0" in str(error.value) and "entry 2" in str(error.value) and "entry 1" not in str(error.value)
