"""One sample of the data set -> what the cache stores."""

import json
import os
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import Fails
from handbone.cache.resize import shrink
from handbone.dataset.layout import Sample
from handbone.dataset.preprocess import PreprocessSpec, apply_clahe, prepare_sample, read_image
from handbone.utils.errors import UserError
from png_files import GREY, chunk, exif, with_chunk

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
    annotation.write_text(json.dumps({"annotations": [{"label": "b", "points": [[10, 5], [61, 5], [50, 35]]}]}))
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


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


@pytest.mark.parametrize("share", [0.5, 0.9, 1])
def test_a_jpeg_is_refused_because_half_of_one_would_be_filled_up(tmp_path: Path, share: float, fails: Fails) -> None:
    path, data = tmp_path / "x.png", jpeg(random_image(64, 64))
    path.write_bytes(data[: int(share * len(data))])
    with fails("image.decode", str(path)) as error:
        read_image(path, 1)
    assert error.value.problems[0].found == "a JPEG"


def test_pixels_that_are_missing_or_wrong_behind_right_checksums_are_refused(tmp_path: Path, fails: Fails) -> None:
    rows, path = bytes(41 * 30), tmp_path / "x.png"
    for stream in (zlib.compress(rows[:600]), zlib.compress(rows)[:-6], b"no zlib", zlib.compress(rows.replace(b"\0", b"\x09"))):
        path.write_bytes(GREY[:33] + chunk(b"IDAT", stream) + chunk(b"IEND", b""))
        with fails("image.decode", str(path)):
            read_image(path, 1)
    path.write_bytes(GREY[:33] + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert not read_image(path, 1).any()


@pytest.mark.parametrize(
    ("kind", "content", "code"),
    [(b"eXIf", exif(6), "image.orientation"), (b"acTL", struct.pack(">II", 2, 0), "image.frames")],
)
def test_what_would_be_ignored_is_an_error(tmp_path: Path, kind: bytes, content: bytes, code: str, fails: Fails) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(with_chunk(GREY, kind, content))
    with fails(code, str(path)):
        read_image(path, 1)


def test_an_upright_orientation_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(with_chunk(GREY, b"eXIf", exif(1)))
    assert np.array_equal(read_image(path, 1), cv2.imdecode(np.frombuffer(GREY, np.uint8), cv2.IMREAD_GRAYSCALE))


def test_one_pixel_that_is_not_opaque_is_an_error(tmp_path: Path, fails: Fails) -> None:
    image = random_image(12, 17, 4)
    image[..., 3] = 255
    assert np.array_equal(read_image(write_png(tmp_path / "x.png", image), 3), image[..., 2::-1])
    image[5, 5, 3] = 254
    with fails("image.alpha", "x.png"):
        read_image(write_png(tmp_path / "x.png", image), 3)


@pytest.mark.parametrize(("image", "key"), [(np.full((8, 9), 7, np.uint8), [7]), (np.full((8, 9, 3), (3, 2, 1), np.uint8), [1, 2, 3])])
def test_a_colour_that_counts_as_transparent_is_an_error_if_it_occurs(
    tmp_path: Path, image: np.ndarray, key: list[int], fails: Fails
) -> None:
    path, data = tmp_path / "x.png", cv2.imencode(".png", image)[1].tobytes()
    path.write_bytes(with_chunk(data, b"tRNS", struct.pack(f">{len(key)}H", *(value + 1 for value in key))))
    assert read_image(path, 3).shape[:2] == (8, 9)
    path.write_bytes(with_chunk(data, b"tRNS", struct.pack(f">{len(key)}H", *key)))
    with fails("image.alpha", str(path)):
        read_image(path, 3)


def palette_png(alpha: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"\0\0\1")
    chunks = [(b"IHDR", header), (b"PLTE", bytes([9, 9, 9, 50, 60, 70])), (b"tRNS", alpha), (b"IDAT", pixels), (b"IEND", b"")]
    return GREY[:8] + b"".join(chunk(*part) for part in chunks)


def test_palettes_are_read_and_their_transparency_counts(tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(palette_png(b"\xff\xff"))
    assert read_image(path, 3).tolist() == [[[9, 9, 9], [50, 60, 70]]]
    path.write_bytes(palette_png(b"\xff\x80"))
    with fails("image.alpha", str(path)):
        read_image(path, 3)


def bomb(side: int) -> bytes:
    """The header of a large PNG, with too few pixels."""
    return GREY[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)) + GREY[33:]


@pytest.mark.parametrize("side", [30_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, side: int, fails: Fails) -> None:
    path, begin = tmp_path / "x.png", time.perf_counter()
    path.write_bytes(bomb(side))
    with fails("image.pixels", str(path)) as error:
        prepare_sample(Sample("test", "p/x", path, None), SPEC)
    assert time.perf_counter() - begin < 1
    assert "preprocess.max_pixels" in error.value.problems[0].expected and str(side) in error.value.problems[0].found


def test_the_limit_is_a_parameter_and_is_allowed_itself(tmp_path: Path, fails: Fails) -> None:
    path = write_png(tmp_path / "x.png", random_image(10, 20))
    assert read_image(path, 1, max_pixels=200).shape == (10, 20)
    with fails("image.pixels", str(path)):
        read_image(path, 1, max_pixels=199)


def test_a_named_pipe_does_not_wait_for_ever(tmp_path: Path, fails: Fails) -> None:
    os.mkfifo(tmp_path / "x.png")
    with fails("image.read", "x.png") as error:
        read_image(tmp_path / "x.png", 1)
    assert error.value.problems[0].found == "a named pipe"


def test_a_file_of_terabytes_is_an_error_before_it_takes_memory(tmp_path: Path, fails: Fails) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    tracemalloc.start()
    with fails("image.read", "x.png"):
        read_image(tmp_path / "x.png", 1)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_device_is_not_read(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "x.png").symlink_to("/dev/zero")
    with fails("image.read", "x.png"):
        read_image(tmp_path / "x.png", 1)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("strange"), cv2.error("Insufficient memory")])
def test_any_other_exception_is_a_fault_of_the_sample(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    path, annotation = write_png(tmp_path / "x.png", random_image(8, 8)), tmp_path / "x.json"
    annotation.write_text('{"annotations": [{"label": "b", "points": [[1, 1], [5, 1], [1, 5]]}]}')
    monkeypatch.setattr("handbone.dataset.preprocess.cv2.imdecode", fail)
    with pytest.raises(UserError) as caught:
        prepare_sample(Sample("train", "p/x", path, annotation), SPEC)
    found = [(problem.code, Path(problem.place.split(":")[0]).name) for problem in caught.value.problems]
    assert found == [("sample.unreadable", "x.png"), ("annotation.label", "x.json"), ("annotation.class_missing", "x.json")]
