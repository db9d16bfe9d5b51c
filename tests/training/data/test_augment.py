"""Transforms by name: the image as albumentations augments it, and where its pixels come from."""

import albumentations as A
import numpy as np
import pytest

from conftest import Fails
from handbone.masks.coverage import OUTSIDE
from handbone.training.data.augment import Augmenter
from handbone.training.data.augment_check import try_transform
from handbone.training.data.augment_presets import PRESETS

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


def sources(inverse_warp: np.ndarray) -> np.ndarray:
    """(h, w, 2): where each pixel comes from, x and y."""
    if inverse_warp.shape[-1] == 2:
        return inverse_warp
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.stack([columns, rows, np.ones(SHAPE)], -1) @ inverse_warp.T


def inside(places: np.ndarray, margin: float = 1.0) -> np.ndarray:
    return ((places > margin) & (places < np.array(SHAPE[::-1]) - 1 - margin)).all(-1)


@pytest.mark.parametrize("named", AFFINE, ids=lambda named: next(iter(named)))
def test_the_inverse_warp_of_affine_transforms_is_a_matrix(named: dict) -> None:
    _, inverse_warp = Augmenter([named], 1)(image(), 3)
    assert inverse_warp.shape == (2, 3)


@pytest.mark.parametrize("named", CURVED, ids=lambda named: next(iter(named)))
def test_the_inverse_warp_of_other_transforms_has_coordinates_of_each_pixel(named: dict) -> None:
    _, inverse_warp = Augmenter([named], 1)(image(), 3)
    assert inverse_warp.shape == (*SHAPE, 2)


def share_that_agrees(augmenter: Augmenter, compose: A.Compose, seed: int) -> float:
    """Squares of 8 pixels, augmented by albumentations with the same seed, against a lookup at the coordinates; the images are equal."""
    mask = np.kron(np.random.default_rng(1).integers(0, 2, (12, 10)), np.ones((8, 8))).astype(np.uint8)
    augmented, inverse_warp = augmenter(image(), seed)
    compose.set_random_seed(seed)
    expected = compose(image=image(), mask=mask)
    assert np.array_equal(augmented, expected["image"])
    places = sources(inverse_warp)
    known = inside(places) & (places > OUTSIDE).all(-1)
    x, y = np.rint(places[known]).astype(int).T
    return float((mask[y, x] == expected["mask"][known]).mean())


@pytest.mark.parametrize("transforms", [AFFINE[:1], AFFINE[1:2], AFFINE[:3], *([named] for named in CURVED), AFFINE[:2] + CURVED[:2]])
def test_albumentations_moves_a_mask_as_the_inverse_warp_says(transforms: list[dict]) -> None:
    """Equal except at edges."""
    compose, augmenter = A.Compose([nested(named) for named in transforms]), Augmenter(transforms, 1)
    assert all(share_that_agrees(augmenter, compose, seed) > 1 - 0.03 * len(transforms) for seed in range(5))


def test_a_matrix_agrees_with_the_image_to_a_third_of_a_pixel() -> None:
    """The image is a gradient, so its values show where its pixels come from; OpenCV warps in steps of 1/32 pixel."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for values, axis in [(columns, 0), (rows, 1)]:
        augmented, inverse_warp = Augmenter(AFFINE[:2], 1)((values * 2).astype(np.uint8), 4)
        places = sources(inverse_warp)
        assert np.abs(augmented / 2 - places[..., axis])[inside(places)].max() < 0.3


def test_the_seed_alone_decides() -> None:
    for transforms in (AFFINE[:2], CURVED[:2]):
        first, second = Augmenter(transforms, 1), Augmenter(transforms, 1)
        first(image(), 99)  # must not affect later calls
        for one, other in zip(first(image(), 7), second(image(), 7), strict=True):
            assert np.array_equal(one, other)
        assert not np.array_equal(first(image(), 7)[0], first(image(), 8)[0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "shapes"), [("light", {(2, 3)}), ("medium", {(2, 3)}), ("strong", {(2, 3), (*SHAPE, 2)})])
def test_presets_pass_the_check_and_all_but_strong_are_affine(name: str, shapes: set[tuple[int, ...]], channels: int) -> None:
    given, augmenter = image() if channels == 1 else np.stack([image()] * 3, -1), Augmenter(name, channels)
    drawn = [augmenter(given, seed) for seed in range(10)]
    assert {inverse_warp.shape for _, inverse_warp in drawn} == shapes
    assert all(augmented.shape == given.shape and augmented.dtype == np.uint8 for augmented, _ in drawn)


def test_a_preset_equals_its_list() -> None:
    for one, other in zip(Augmenter("medium", 1)(image(), 5), Augmenter(PRESETS["medium"], 1)(image(), 5), strict=True):
        assert np.array_equal(one, other)


def test_no_preset_turns_a_hand_upside_down_or_on_its_side() -> None:
    """The image's y axis, as the network sees it, still points down, with less than 45 degrees of deviation."""
    for name in PRESETS:
        augmenter = Augmenter(name, 1)
        for seed in range(30):
            places = sources(augmenter(image(), seed)[1])
            down = places[60, 40] - places[36, 40]
            assert down[1] > abs(down[0])


def test_without_transforms_the_image_is_unchanged() -> None:
    augmented, inverse_warp = Augmenter([], 1)(image(), 0)
    assert np.array_equal(augmented, image()) and np.allclose(inverse_warp, np.eye(2, 3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"HorizontalFlap": {"p": 1}},
        {"HorizontalFlip": {"p": 1}, "VerticalFlip": {"p": 1}},  # two in one entry
        {"Affine": {"rotatte": 3}},
        {"RandomCrop": {"height": 32, "width": 32}},
        {"Morphological": {"p": 1}},
        {"Morphological": {"p": 0.01}},  # rare, but tried with probability 1
        {"ISONoise": {"p": 1}},  # needs three channels
    ],
)
def test_an_unusable_transform_is_an_error_at_load(wrong: dict, fails: Fails) -> None:
    with fails("train.augment", "train.augment, entry 1"):
        Augmenter([{"HorizontalFlip": {}}, wrong], 1)


@pytest.mark.parametrize("named", [{"RandomRotate90": {"p": 1}}, {"Transpose": {"p": 1}}, {"CenterCrop": {"height": 64, "width": 64}}])
def test_a_change_of_the_images_size_is_an_error_when_it_happens(named: dict, fails: Fails) -> None:
    """The square probe of 64 px cannot show it."""
    augmenter = Augmenter([named], 1)
    with fails("train.augment_size", "train.augment"):
        _ = [augmenter(image(), seed) for seed in range(8)]


def test_square_images_can_be_turned_by_90_degrees() -> None:
    square = image()[:80]
    assert all(Augmenter([{"RandomRotate90": {"p": 1}}], 1)(square, seed)[0].shape == (80, 80) for seed in range(8))


@pytest.mark.parametrize("name", ["ISONoise", "ChannelDropout", "RandomFog"])
def test_a_grey_image_becomes_a_colour_image_for_transforms_of_colour(name: str) -> None:
    augmented, _ = Augmenter([{name: {"p": 1}}], 3)(image(), 0)
    assert augmented.shape == (*SHAPE, 3)
    kept, _ = Augmenter([{"HorizontalFlip": {"p": 1}}], 3)(image(), 0)
    assert kept.shape == SHAPE


def test_all_unusable_transforms_are_listed(fails: Fails) -> None:
    with fails("train.augment", "entry 0", "entry 2") as caught:
        Augmenter([{"Nope": {}}, {"HorizontalFlip": {}}, {"NopeToo": {}}], 3)
    assert len(caught.value.problems) == 2


class UnseededNoise(A.ImageOnlyTransform):
    """Noise from NumPy's global generator."""

    def apply(self, img: np.ndarray, **params: object) -> np.ndarray:
        return np.random.randint(0, 256, img.shape, np.uint8)


class FloatNow(A.ImageOnlyTransform):
    """Floats, but only if a random number of its seed says so."""

    def apply(self, img: np.ndarray, **params: object) -> np.ndarray:
        return img.astype(np.float32) if self.py_random.random() < 0.5 else img


@pytest.mark.parametrize(("transform", "fault"), [(UnseededNoise(), "same seed"), (FloatNow(), "float32"), (A.Blur(), "")])
def test_what_depends_on_more_than_the_seed_or_is_float_now_and_then_is_found(transform: A.BasicTransform, fault: str) -> None:
    found = try_transform(transform, 1).fault
    assert fault in found and bool(fault) == bool(found)
    assert transform.p == 0.5, "as before"


def place_of(named: dict) -> str:
    return f"train.augment, entry 1 ({next(iter(named))})"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "wrong",
    [
        {"Normalize": {"mean": [0.5], "std": [0.25]}},
        {"ToFloat": {"max_value": 255, "p": 0.01}},  # rare, but tried with probability 1
        {"FromFloat": {}},
        {"ToTensorV2": {}},
        {"ToTensor3D": {}},
        {"Lambda": {}},
        {"FDA": {}},  # needs further images
        {"Mosaic": {}},
        {"MaskDropout": {}},  # needs the masks
        {"ConstrainedCoarseDropout": {"mask_indices": [1]}},  # as well, but does not say so
        {"CubicSymmetry": {}},  # a transform of volumes
        {"DualTransform": {}},  # a base class
        {"BasicTransform": {}},
        {"RandomBrightnessContrast": {"brightness_limit": [-1, -1], "contrast_limit": 0}},  # black
        {"MultiplicativeNoise": {"multiplier": [0.0, 0.001]}},  # 0..255 becomes 0..0.255
    ],
    ids=lambda wrong: next(iter(wrong)) if isinstance(wrong, dict) else None,
)
def test_what_returns_other_pixels_than_8_bits_of_image_and_seed_is_an_error_at_load(wrong: dict, channels: int, fails: Fails) -> None:
    with fails("train.augment", place_of(wrong)) as caught:
        Augmenter([{"HorizontalFlip": {}}, wrong], channels)
    assert "\n" not in str(caught.value.problems[0])


@pytest.mark.parametrize(
    "sound",
    [
        {"InvertImg": {}},
        {"Solarize": {}},
        {"Posterize": {"num_bits": [1, 1]}},
        {"GaussianBlur": {"blur_limit": 0, "sigma_limit": [20, 20]}},
        {"RandomBrightnessContrast": {"brightness_limit": [-1, 0.2]}},  # may be black, and mostly is not
        {"AdditiveNoise": {"noise_type": "uniform", "spatial_mode": "per_pixel"}},
        {"NoOp": {}},
    ],
    ids=lambda sound: next(iter(sound)),
)
def test_strong_transforms_of_8_bit_images_are_accepted(sound: dict) -> None:
    assert Augmenter([sound], 1)(image(), 1)[0].dtype == np.uint8


def nested(named: dict) -> A.BasicTransform:
    """A transform and what it contains, built by albumentations alone."""
    ((name, arguments),) = named.items()
    inner = {"transforms": [nested(one) for one in arguments["transforms"]]} if "transforms" in arguments else {}
    return getattr(A, name)(**(arguments | inner))


CONTAINERS = [
    {"OneOf": {"p": 0.7, "transforms": [{"GaussNoise": {"p": 0.2}}, {"Blur": {"p": 0.6}}]}},
    {"SomeOf": {"n": 2, "p": 0.9, "transforms": [{"HorizontalFlip": {}}, {"Blur": {}}, {"Affine": {"rotate": [-20, 20]}}]}},
    {"RandomOrder": {"n": 2, "transforms": [{"Rotate": {"p": 1}}, {"VerticalFlip": {}}]}},
    {"OneOrOther": {"transforms": [{"HorizontalFlip": {}}, {"GaussNoise": {}}]}},
    {"Sequential": {"p": 1, "transforms": [{"OneOf": {"p": 1, "transforms": [{"Blur": {}}, {"Rotate": {}}]}}, {"HorizontalFlip": {}}]}},
    {"Compose": {"p": 0.5, "transforms": [{"VerticalFlip": {"p": 1}}]}},
]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: next(iter(container)))
def test_transforms_that_contain_others_do_what_albumentations_does(container: dict) -> None:
    """Affine inside, so the warp is a matrix. With the same seed the image is the same, also between other transforms."""
    transforms = [{"RandomBrightnessContrast": {}}, container, {"HorizontalFlip": {}}]
    compose, augmenter = A.Compose([nested(named) for named in transforms]), Augmenter(transforms, 1)
    images = set()
    for seed in range(12):
        augmented, inverse_warp = augmenter(image(), seed)
        compose.set_random_seed(seed)
        assert np.array_equal(augmented, compose(image=image())["image"]) and inverse_warp.shape == (2, 3)
        images.add(augmented.tobytes())
    assert len(images) > 3


@pytest.mark.parametrize(
    "transforms",
    [
        [{"GridDistortion": {"p": 0.5}}],
        [{"OneOf": {"p": 0.9, "transforms": [{"HorizontalFlip": {}}, {"Sequential": {"transforms": [{"GridDistortion": {}}]}}]}}],
        [{"SomeOf": {"n": 1, "transforms": [{"Rotate": {}}, {"Perspective": {}}, {"HorizontalFlip": {}}]}}],
        [{"RandomOrder": {"n": 2, "transforms": [{"Rotate": {}}, {"GridDistortion": {}}, {"HorizontalFlip": {}}]}}],
        [{"SomeOf": {"n": 3, "replace": True, "transforms": [{"GridDistortion": {"p": 0.3}}, {"Blur": {}}]}}],
        [{"OneOrOther": {"transforms": [{"RandomGridShuffle": {}}, {"HorizontalFlip": {}}]}}],
    ],
)
def test_only_a_draw_that_is_not_affine_has_coordinates(transforms: list[dict]) -> None:
    """Whether a draw of the seed is affine is known before the image is augmented; a wrong guess would show in the mask."""
    compose, augmenter = A.Compose([nested(named) for named in transforms]), Augmenter(transforms, 1)
    assert all(share_that_agrees(augmenter, compose, seed) > 0.9 for seed in range(24))
    assert {augmenter(image(), seed)[1].shape for seed in range(24)} == {(2, 3), (*SHAPE, 2)}


def test_a_pixel_comes_from_inside_of_the_image_or_is_marked_whatever_is_interpolated_at_the_border() -> None:
    """Two warps, one after the other: each mixes true coordinates with those of the outside, at weights down to 1/1024."""
    affine = {"Affine": {"rotate": [-30, 30], "scale": [0.6, 0.8], "shear": [-8, 8], "p": 1}}
    augmenter = Augmenter([affine, {"GridDistortion": {"p": 1}}, affine], 1)
    for seed in range(20):
        places = augmenter(image(), seed)[1]
        known = places[(places > OUTSIDE).all(-1)]
        assert len(known) and (known > -1).all() and (known < np.array(SHAPE[::-1])).all()


def test_faults_inside_others_are_all_listed_with_their_path(fails: Fails) -> None:
    one_of = {"OneOf": {"transforms": [{"Blur": {}}, {"Normalize": {}}, {"SomeOf": {"transforms": [{"Nope": {}}, {"ToFloat": {}}]}}]}}
    with fails("train.augment") as caught:
        Augmenter([{"HorizontalFlip": {}}, {"Blur": {}}, one_of, {"Normalize": {}}], 1)
    start = "params.yaml: train.augment, entry"
    assert sorted(caught.value.places) == [
        f"{start} 2 (OneOf), transform 1 (Normalize)",
        f"{start} 2 (OneOf), transform 2 (SomeOf), transform 0",
        f"{start} 2 (OneOf), transform 2 (SomeOf), transform 1 (ToFloat)",
        f"{start} 3 (Normalize)",
    ]


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"OneOf": {}}, "transforms"),
        ({"OneOf": {"transforms": []}}, "transforms"),
        ({"OneOf": {"transforms": {"Blur": {}}}}, "transforms"),
        ({"OneOf": {"transforms": ["Blur"]}}, "transform 0"),
        ({"OneOf": {"transforms": [{"Blur": None}]}}, "transform 0"),
        ({"OneOf": {"transforms": [{"Blur": {}}], "p": 2}}, "p"),
        ({"OneOf": {"transforms": [{"Blur": {}}], "q": 1}}, "(OneOf)"),
        ({"OneOf": {"transforms": [{"Blur": {"p": 0}}]}}, "(OneOf)"),  # weights that are all 0
        ({"OneOrOther": {"transforms": [{"Blur": {}}]}}, "transforms"),
        ({"SomeOf": {"transforms": [{"Blur": {}}], "n": 0}}, "n"),
        ({"SomeOf": {"transforms": [{"Blur": {}}], "n": 2}}, "(SomeOf)"),  # more than it has
        ({"Compose": {"transforms": [{"Blur": {}}], "seed": 1}}, "(Compose)"),  # the same random choices again and again
        ({"ReplayCompose": {"transforms": [{"Blur": {}}]}}, "entry 0"),
    ],
)
def test_wrong_arguments_of_transforms_that_contain_others_are_an_error(wrong: dict, place: str, fails: Fails) -> None:
    with fails("train.augment", place):
        Augmenter([wrong], 1)


def test_a_list_that_contains_itself_is_an_error(fails: Fails) -> None:
    """As an alias in YAML makes it."""
    loop: dict = {"OneOf": {"transforms": [{"Blur": {}}]}}
    loop["OneOf"]["transforms"].append(loop)
    with fails("train.augment", "entry 0 (OneOf), transform 1 (OneOf)"):
        Augmenter([loop], 1)


@pytest.mark.parametrize(
    ("transforms", "mirrors"),
    [
        ([], False),
        ([{"HorizontalFlip": {}}], True),
        ([{"HorizontalFlip": {"p": 0}}], False),
        ([{"VerticalFlip": {}}], True),
        ([{"D4": {}}], True),
        ([{"SquareSymmetry": {}}], True),
        ([{"Transpose": {}}], True),
        ([{"RandomRotate90": {}}, {"Rotate": {"limit": 180}}, {"ElasticTransform": {"alpha": 100}}, {"RandomGridShuffle": {}}], False),
        ([{"OneOf": {"transforms": [{"Blur": {}}, {"HorizontalFlip": {}}]}}], True),
        ("medium", True),
    ],
)
def test_it_knows_whether_something_mirrors(transforms: list[dict] | str, mirrors: bool) -> None:
    assert Augmenter(transforms, 1).mirrors == mirrors


@pytest.mark.parametrize("named", [{"RandomRotate90": {"p": 0.01}}, {"D4": {}}, {"CenterCrop": {"height": 64, "width": 64}}])
def test_a_change_of_size_is_found_before_training_when_the_sizes_are_known(named: dict, fails: Fails) -> None:
    augmenter = Augmenter([{"OneOf": {"transforms": [{"Blur": {}}, named]}}], 1)
    with fails("train.augment_size", f"entry 0 (OneOf), transform 1 ({next(iter(named))})"):
        augmenter.check_sizes([(80, 80), SHAPE, (80, 80)])
    augmenter.check_sizes([(64, 64)])
    Augmenter([{next(iter(named)): next(iter(named.values())) | {"p": 0}}, {"Affine": {"rotate": 90}}], 1).check_sizes([SHAPE])
