"""One sample of the data set -> the cache's form."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from handbone.cache.resize import shrink
from handbone.cache.sample import CachedSample
from handbone.dataset.layout import Sample
from handbone.dataset.preprocess import PreprocessSpec, equalised, prepare, read_image

RECIPE = PreprocessSpec(classes=["a"], allow_missing=False, size=0, channels=1)


def write_png(path: Path, image: np.ndarray) -> Path:
    cv2.imwrite(str(path), image)
    return path


def random_image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_grey_is_kept_exactly_however_it_is_stored(tmp_path: Path) -> None:
    grey = random_image(12, 17)
    for channels in (1, 3):
        for name, stored in [("one", grey), ("three", cv2.merge([grey] * 3))]:
            read = read_image(write_png(tmp_path / f"{name}.png", stored), channels)
            assert read is not None
            assert np.array_equal(read, grey)


def test_colour_is_rgb_where_it_is_asked_for_and_grey_where_not(tmp_path: Path) -> None:
    colour = random_image(12, 17, 3)
    path = write_png(tmp_path / "c.png", colour)
    rgb, grey = read_image(path, 3), read_image(path, 1)
    assert rgb is not None
    assert np.array_equal(rgb, colour[..., ::-1])
    assert grey is not None
    assert grey.shape == (12, 17)


@pytest.mark.parametrize("broken", [b"", b"no png", None])
def test_an_unreadable_image_is_a_problem(tmp_path: Path, broken: bytes | None) -> None:
    path = write_png(tmp_path / "x.png", random_image(64, 64))
    path.write_bytes(path.read_bytes()[:600] if broken is None else broken)
    problems = prepare(Sample("test", "p/x", path, None), RECIPE)
    assert isinstance(problems, list)
    assert "x.png" in str(problems[0])


def test_a_link_that_leads_nowhere_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to(tmp_path / "gone.png")
    (problem,) = prepare(Sample("test", "p/x", tmp_path / "x.png", None), RECIPE)
    assert "No such file" in str(problem)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_a_problem(tmp_path: Path, channels: int) -> None:
    """Read as 8, an image of 12 bits in 16 would keep 16 grey levels."""
    path = write_png(tmp_path / "x.png", np.full((8, 8, channels), 4095, np.uint16))
    (problem,) = prepare(Sample("test", "p/x", path, None), RECIPE)
    assert "8 bits a channel" in str(problem) and "found 16 bits" in str(problem)


def test_masks_are_painted_at_full_size_whatever_the_cached_size(tmp_path: Path) -> None:
    image = write_png(tmp_path / "x.png", random_image(40, 60))
    annotation = tmp_path / "x.json"
    annotation.write_text(json.dumps({"annotations": [{"label": "a", "points": [[10, 5], [50, 5], [50, 35], [10, 35]]}]}))
    sample = prepare(Sample("train", "p/x", image, annotation), PreprocessSpec(["a"], False, 30, 1))
    assert isinstance(sample, CachedSample)
    assert sample.image.shape == (20, 30)
    assert sample.shape == (40, 60)
    assert sample.masks is not None
    assert sample.masks.boxes.tolist() == [[5, 10, 36, 51]]


def test_clahe_evens_out_contrast_before_the_image_is_shrunk_and_0_leaves_it(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(100, 140, 64).astype(np.uint8), (64, 1)) + random_image(64, 64) // 32
    path = write_png(tmp_path / "x.png", ramp)
    off, on = (prepare(Sample("test", "p/x", path, None), PreprocessSpec(["a"], False, 32, 1, clip)) for clip in (0.0, 2.0))
    assert isinstance(off, CachedSample) and isinstance(on, CachedSample)
    assert np.array_equal(off.image, shrink(ramp, 32))
    assert np.array_equal(on.image, shrink(cv2.createCLAHE(2.0, (8, 8)).apply(ramp), 32))
    assert on.image.std() > off.image.std()


def test_a_higher_clip_limit_is_a_stronger_contrast() -> None:
    grey = np.clip(np.random.default_rng(0).normal(120, 5, (128, 128)), 0, 255).astype(np.uint8)
    spread = [equalised(grey, clip).std() for clip in (0, 1.0, 2.0, 4.0)]
    assert spread == sorted(set(spread))


def test_clahe_in_colour_changes_lightness_and_keeps_hues() -> None:
    ramp = np.full((64, 64, 3), (0, 140, 138), np.uint8)  # Lab: a reddish brown
    ramp[..., 0] = np.linspace(110, 150, 64)
    rgb = cv2.cvtColor(ramp, cv2.COLOR_LAB2RGB)
    made = equalised(rgb, 4.0)
    before, after = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(int) for image in (rgb, made))
    assert np.abs(after - before)[..., 0].max() > 20
    assert np.abs(after - before)[..., 1:].max() <= 2
