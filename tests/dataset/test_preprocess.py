"""One sample of the data set -> what the cache stores."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import Fails
from handbone.cache.resize import shrink
from handbone.dataset.layout import Sample
from handbone.dataset.preprocess import PreprocessSpec, apply_clahe, prepare_sample, read_image
from handbone.utils.errors import UserError

SPEC = PreprocessSpec(classes=["a"], allow_missing=False, size=None, channels=1)


def write_png(path: Path, image: np.ndarray) -> Path:
    cv2.imwrite(str(path), image)
    return path


def random_image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_grey_does_not_change_with_one_stored_channel_or_three(tmp_path: Path) -> None:
    grey = random_image(12, 17)
    for channels in (1, 3):
        for name, stored in [("one", grey), ("three", cv2.merge([grey] * 3))]:
            assert np.array_equal(read_image(write_png(tmp_path / f"{name}.png", stored), channels), grey)


def test_colour_is_rgb_with_3_channels_and_grey_with_1(tmp_path: Path) -> None:
    colour = random_image(12, 17, 3)
    path = write_png(tmp_path / "c.png", colour)
    assert np.array_equal(read_image(path, 3), colour[..., ::-1])
    assert read_image(path, 1).shape == (12, 17)


@pytest.mark.parametrize("broken", [b"", b"no png", None])
def test_an_unreadable_image_is_an_error(tmp_path: Path, broken: bytes | None, fails: Fails) -> None:
    path = write_png(tmp_path / "x.png", random_image(64, 64))
    path.write_bytes(path.read_bytes()[:600] if broken is None else broken)
    with fails("image.decode", str(path)):
        prepare_sample(Sample("test", "p/x", path, None), SPEC)


def test_a_broken_link_is_an_error(tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "x.png"
    path.symlink_to(tmp_path / "gone.png")
    with fails("image.read", str(path)):
        prepare_sample(Sample("test", "p/x", path, None), SPEC)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_an_error(tmp_path: Path, channels: int, fails: Fails) -> None:
    """Read as 8 bits, an image of 12 bits in 16 would keep 16 grey levels."""
    path = write_png(tmp_path / "x.png", np.full((8, 8, channels), 4095, np.uint16))
    with fails("image.bits", str(path)) as error:
        prepare_sample(Sample("test", "p/x", path, None), SPEC)
    assert "16" in error.value.problems[0].found


def test_every_fault_of_an_annotation_is_in_one_error(tmp_path: Path) -> None:
    image, annotation = write_png(tmp_path / "x.png", random_image(40, 60)), tmp_path / "x.json"
    annotation.write_text(json.dumps({"annotations": [{"label": "b", "points": [[10, 5], [60, 5], [50, 35]]}]}))
    with pytest.raises(UserError) as error:
        prepare_sample(Sample("train", "p/x", image, annotation), SPEC)
    assert error.value.codes == {"annotation.label", "annotation.outside", "annotation.class_missing"}


def test_masks_have_full_size_even_if_the_cached_image_is_smaller(tmp_path: Path) -> None:
    image = write_png(tmp_path / "x.png", random_image(40, 60))
    annotation = tmp_path / "x.json"
    annotation.write_text(json.dumps({"annotations": [{"label": "a", "points": [[10, 5], [50, 5], [50, 35], [10, 35]]}]}))
    sample = prepare_sample(Sample("train", "p/x", image, annotation), PreprocessSpec(["a"], False, 30, 1))
    assert sample.image.shape == (20, 30)
    assert sample.shape == (40, 60)
    assert sample.masks is not None
    assert sample.masks.boxes.tolist() == [[5, 10, 36, 51]]


def test_clahe_raises_contrast_before_the_image_shrinks_and_null_does_not_change_it(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(100, 140, 64).astype(np.uint8), (64, 1)) + random_image(64, 64) // 32
    path = write_png(tmp_path / "x.png", ramp)
    off, on = (prepare_sample(Sample("test", "p/x", path, None), PreprocessSpec(["a"], False, 32, 1, clip)) for clip in (None, 2.0))
    assert np.array_equal(off.image, shrink(ramp, 32))
    assert np.array_equal(on.image, shrink(cv2.createCLAHE(2.0, (8, 8)).apply(ramp), 32))
    assert on.image.std() > off.image.std()


def test_a_higher_clip_limit_gives_more_contrast() -> None:
    grey = np.clip(np.random.default_rng(0).normal(120, 5, (128, 128)), 0, 255).astype(np.uint8)
    spread = [apply_clahe(grey, clip).std() for clip in (None, 1.0, 2.0, 4.0)]
    assert spread == sorted(set(spread))


def test_clahe_of_colour_changes_lightness_but_not_hues() -> None:
    ramp = np.full((64, 64, 3), (0, 140, 138), np.uint8)  # Lab: a reddish brown
    ramp[..., 0] = np.linspace(110, 150, 64)
    rgb = cv2.cvtColor(ramp, cv2.COLOR_LAB2RGB)
    equalised = apply_clahe(rgb, 4.0)
    before, after = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(int) for image in (rgb, equalised))
    assert np.abs(after - before)[..., 0].max() > 20
    assert np.abs(after - before)[..., 1:].max() <= 2
