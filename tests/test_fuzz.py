"""Arbitrary files: each reader gives a right result or a `UserError`, within seconds and bounded memory, and never another exception.

A few seconds in `make test`, always with the same inputs; `make fuzz` gives FUZZ_EXAMPLES to each test, with new inputs each time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors

from handbone.cache.sample import CachedSample, read_masks, read_sample, write_sample
from handbone.config.params import load_params, parse_params
from handbone.dataset.annotation import read_polygons
from handbone.dataset.people import read_people
from handbone.dataset.preprocess import read_image
from handbone.evaluation.decision import Decision
from handbone.evaluation.members import read_pin
from handbone.masks.boxed import BoxedMasks
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.masks.rasterize import rasterize
from handbone.masks.rle import decode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.masks.upsample import full_masks
from handbone.models.pretrained import read_weights
from handbone.models.saved import read_info
from handbone.submission.csv import submitted_masks
from handbone.training.checkpoint import Checkpoint
from handbone.utils.errors import UserError
from handbone.utils.io import read_table
from imports import ROOT

AT_LENGTH = "FUZZ_EXAMPLES" in os.environ
SECONDS = 5  # of computing in which every reader ends
WAITING = 60  # seconds by the clock, however busy the machine is
MEMORY = 1 << 20  # kilobytes by which the process may grow
CLASSES = ["Radius", "Ulna"]
fuzz = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", 40)),
    deadline=None,  # `bounded` has its own, which stops a hang
    derandomize=not AT_LENGTH,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if AT_LENGTH else [])],
)


@contextmanager
def bounded() -> Iterator[None]:
    """Only a `UserError` of a readable length may leave the block, within `SECONDS`, `WAITING` and `MEMORY`."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"more than {SECONDS} s of computing, or {WAITING} s of waiting")

    found: UserError | None = None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handlers = {number: signal.signal(number, hang) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    try:
        yield
    except UserError as error:
        found = error
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if found:
        assert found.problems and all(problem.place for problem in found.problems)
        assert len(str(found).encode(errors="backslashreplace")) < 20_000  # as on stderr
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


@pytest.fixture(scope="module", autouse=True)
def compiled_kernels() -> None:
    """Compile the kernels, which may take longer than `SECONDS`."""
    maps = np.full((1, 8, 8), 200, np.uint8)
    full_masks(CroppedMaps.from_dense(maps), (16, 16), 0.5).boxed()
    decode_runs(["1 1"], 5, 6).boxed()
    RunLengthMasks.from_boxed(rasterize([[np.array([[0, 0], [4, 0], [0, 4]], np.int32)]], (8, 8)))


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """The bytes after a few edits: bits flipped, parts removed, doubled or inserted, the end cut off."""
    place = st.integers(0, len(whole))
    edit = st.tuples(st.sampled_from(["flip", "remove", "double", "insert", "cut"]), place, st.integers(1, 64), st.binary(max_size=16))

    def apply(edits: list[tuple[str, int, int, bytes]]) -> bytes:
        data = bytearray(whole)
        for kind, at, count, new in edits:
            if kind == "flip" and at < len(data):
                data[at] ^= 1 << count % 8
            elif kind == "remove":
                del data[at : at + count]
            elif kind == "double":
                data[at:at] = data[at : at + count]
            elif kind == "insert":
                data[at:at] = new
            elif kind == "cut":
                del data[at:]
        return bytes(data)

    return st.lists(edit, min_size=1, max_size=4).map(apply)


NUMBERS = st.one_of(st.integers(-100, 100), st.integers(), st.floats(), st.sampled_from([10**400, 2**31, 2**63, -1, 0, 1e308]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8), st.sampled_from([*CLASSES, "..", "a/b", "\0", "\ud800"])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=8,
)


@st.composite
def changed(draw: Callable[..., Any], document: Any) -> Any:
    """The JSON document with a few of its values, at any depth, replaced, removed or doubled."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        here = document
        while isinstance(here, (dict, list)) and here:
            key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
            if not isinstance(here[key], (dict, list)) or draw(st.integers(0, 3)) == 0:
                kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
                if kind == "replace":
                    here[key] = draw(VALUES)
                elif kind == "remove":
                    del here[key]
                elif isinstance(here, list):
                    here.append(draw(VALUES))
                else:
                    here[draw(st.text(max_size=8))] = draw(VALUES)
                break
            here = here[key]
    return document


def files_of(document: Any) -> st.SearchStrategy[bytes]:
    """JSON files: the document with other values, or its text damaged, or anything."""
    dumped = changed(document).map(lambda found: json.dumps(found).encode())
    return st.one_of(dumped, damaged(json.dumps(document).encode()), VALUES.map(lambda found: json.dumps(found).encode()), st.binary())


ANNOTATION = {
    "annotations": [
        {"label": name, "points": [[4, 4 + 20 * row], [28, 4 + 20 * row], [16, 20 + 20 * row]]} for row, name in enumerate(CLASSES)
    ]
}


@fuzz
@given(content=files_of(ANNOTATION))
@example(content=b"[" * 100_000)
@example(content=json.dumps(ANNOTATION).replace("28", "9" * 400).encode())
def test_annotations(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with bounded():
        polygons, problems = read_polygons(path, CLASSES, (48, 32), allow_missing=True)
        assert all("a.json" in problem.place for problem in problems)
        if not problems:
            masks = RunLengthMasks.from_boxed(rasterize(polygons, (48, 32)))
            assert all(0 <= area <= 48 * 32 for area in masks.areas())


def png(width: int = 6, height: int = 5) -> bytes:
    return cv2.imencode(".png", np.arange(width * height, dtype=np.uint8).reshape(height, width))[1].tobytes()


@st.composite
def png_headers(draw: Callable[..., Any]) -> bytes:
    """A PNG whose header says something else, with the right checksum."""
    size = st.one_of(st.integers(0, 40), st.sampled_from([0, 2**31 - 1, 2**31, 2**32 - 1, 30_000, 65_535]))
    small = st.integers(0, 20)
    header = struct.pack(
        ">IIBBBBB", draw(size), draw(size), draw(small), draw(st.integers(0, 7)), *(draw(st.integers(0, 2)) for _ in range(3))
    )
    chunk = b"IHDR" + header
    whole = png()
    return whole[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:]


@fuzz
@example(content=b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\xaeB`\x82", channels=1)  # nothing but an end
@given(
    content=st.one_of(png_headers(), damaged(png()), damaged(png()).map(lambda data: data + png()), st.binary()),
    channels=st.sampled_from([1, 3]),
)
def test_images(tmp_path: Path, content: bytes, channels: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with bounded():
        image = read_image(path, channels)
        assert image.dtype == np.uint8 and image.shape[2:] in ((), (3,)) and image.size


def sample_file(path: Path) -> bytes:
    masks = BoxedMasks.from_crops((20, 24), [(2, 3), (0, 0)], [np.ones((9, 11), bool), np.zeros((0, 0), bool)])
    write_sample(path, CachedSample(np.zeros((10, 12), np.uint8), (20, 24), PackedMasks.pack(masks)))
    return path.read_bytes()


def maps_file(path: Path) -> bytes:
    maps = np.zeros((2, 10, 12), np.uint8)
    maps[0, 2:7, 3:9] = 200
    CroppedMaps.from_dense(maps).save(path)
    return path.read_bytes()


@st.composite
def arrays(draw: Callable[..., Any], names: tuple[str, ...]) -> bytes:
    """An npz with arrays of these names, of any small shape and type; sometimes without one of them."""
    content = {}
    for name in names:
        shape = draw(
            st.sampled_from([(), (0,), (1,), (2,), (4,), (2, 4), (1, 4), (0, 4), (18,), (30,), (10, 12), (10, 12, 3), (3, 3, 3, 3)])
        )
        kind = draw(st.sampled_from(["u1", "i4", "i8", "f4", "b1", "U3"]))
        values = draw(st.lists(st.integers(-(2**31), 2**31 - 1) if draw(st.booleans()) else st.integers(0, 24), min_size=1, max_size=8))
        with np.errstate(all="ignore"):
            content[name] = np.resize(np.array(values), shape).astype(kind)
    if draw(st.integers(0, 5)) == 0:
        del content[draw(st.sampled_from(names))]
    file = BytesIO()
    np.savez(file, **content)
    return file.getvalue()


@fuzz
@given(data=st.data())
def test_cached_samples(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(data.draw(st.one_of(damaged(sample_file(path)), arrays(("image", "shape", "boxes", "bits")))))
    with bounded():
        sample = read_sample(path)
        if sample.masks is not None:
            runs = RunLengthMasks.from_packed(read_masks(path))
            assert all(0 <= area <= np.prod(sample.shape) for area in runs.areas())
            sample.masks.unpack().dense()


@fuzz
@given(data=st.data())
def test_stored_probabilities(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(data.draw(st.one_of(damaged(maps_file(path)), arrays(("shape", "boxes", "values")))))
    with bounded():
        maps = CroppedMaps.load(path)
        if 0 < np.prod(maps.shape) < 10_000:
            masks = full_masks(maps, (maps.shape[0] * 2, maps.shape[1] * 2), 0.5)
            assert all(0 <= area <= 4 * np.prod(maps.shape) for area in masks.areas())


INDEX = b'key,person,image_name,height,width,sha256\nA/a,A,a.png,20,24,00\n"B,x/b",B,b.png,20,24,00\n'


@fuzz
@given(content=st.one_of(damaged(INDEX), st.text().map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary()))
def test_tables(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.csv").write_bytes(content)
    with bounded():
        read_table(tmp_path / "index.csv")
    (tmp_path / "train").mkdir(exist_ok=True)
    (tmp_path / "train/people.csv").write_bytes(content)
    with bounded():
        people = read_people(tmp_path)
        assert all(isinstance(value, str) for values in people.values() for value in values.values())


SUBMISSION = b"image_name,class,rle\na.png,Radius,1 3 30 4\na.png,Ulna,\nb.png,Radius,7 1\nb.png,Ulna,480 1\n"


@fuzz
@given(content=st.one_of(damaged(SUBMISSION), st.binary()))
def test_submissions(tmp_path: Path, content: bytes) -> None:
    """What is accepted has exactly the rows asked for, and each decodes or is an error."""
    path = tmp_path / "submission.csv"
    path.write_bytes(content)
    images = {key: (f"{key}.png", 20, 24) for key in ("a", "b")}
    with bounded():
        found = submitted_masks(path, images, CLASSES)
        assert list(found) == list(images) and all(len(masks.areas()) == len(CLASSES) for masks in found.values())


def plain_decode(text: str, pixels: int) -> np.ndarray | None:
    """The mask of a run-length text, slowly; None if it encodes none."""
    numbers = [word for word in text.split(" ") if word]
    if len(numbers) % 2 or any(set(word) - set("0123456789") for word in numbers):
        return None
    mask, end = np.zeros(pixels, bool), 0
    for start, length in zip(map(int, numbers[::2]), map(int, numbers[1::2]), strict=True):
        if start - 1 < end or length < 1 or start < 1 or start - 1 + length > pixels:
            return None
        mask[start - 1 : start - 1 + length] = True
        end = start - 1 + length
    return mask


WORDS = st.one_of(st.integers(0, 30).map(str), st.integers().map(str), st.text("0123456789 -+.x\n\t٣", max_size=5))
RISING = st.lists(st.integers(1, 4), max_size=8).map(
    lambda steps: " ".join(str(number) for at, step in enumerate(steps) for number in (1 + sum(steps[:at]) + at, step))
)


@fuzz
@given(text=st.one_of(RISING, st.lists(WORDS, max_size=8).map(" ".join), st.text(max_size=20)))
def test_run_length_text(text: str) -> None:
    expected = plain_decode(text, 30)
    found: np.ndarray | None = None
    with bounded():
        found = decode_runs(["", text], 5, 6).boxed().dense()[1].ravel()
    assert (found is None) == (expected is None)
    assert found is None or np.array_equal(found, expected)


PARAMS_TEXT = (ROOT / "params.yaml").read_bytes()
PARAMS = yaml.safe_load(PARAMS_TEXT)


@fuzz
@given(document=st.one_of(changed(PARAMS), VALUES))
def test_parameters(document: Any) -> None:
    with bounded():
        parse_params(document, "params.yaml")


@fuzz
@given(content=st.one_of(damaged(PARAMS_TEXT), st.text("{}[]&*!|>-: \n\t#%@`'\"ab1~", max_size=60).map(str.encode), st.binary()))
@example(content=b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n")
@example(content=b"seed: !!python/object/apply:os.system [true]\n")
@example(content=b"[" * 5_000)
def test_parameter_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with bounded():
        load_params(path)


@st.composite
def safetensors_headers(draw: Callable[..., Any]) -> bytes:
    """A safetensors file whose header says something else."""
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    header = json.dumps(draw(changed({"weight": entry, "__metadata__": {"a": "b"}}))).encode()
    length = draw(st.one_of(st.just(len(header)), st.integers(0, 2**64 - 1)))
    return struct.pack("<Q", length) + header + bytes(draw(st.sampled_from([24, 0, 23, 25])))


@fuzz
@given(content=st.one_of(safetensors_headers(), damaged(to_safetensors({"weight": torch.zeros(2, 3)})), st.binary()))
def test_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with bounded():
        assert all(isinstance(tensor, torch.Tensor) for tensor in read_weights(path).values())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("resume")
    Checkpoint(folder).save({"epoch": 1, "model": {"weight": torch.zeros(3)}})
    return (folder / "last.pt").read_bytes()


@fuzz
@given(data=st.data())
def test_checkpoints(tmp_path: Path, checkpoint: bytes, data: st.DataObject) -> None:
    (tmp_path / "last.pt").write_bytes(data.draw(st.one_of(damaged(checkpoint), st.binary())))
    with bounded():
        Checkpoint(tmp_path).load()


MODEL = {
    "spec": {"arch": "Unet", "encoder": "resnet18", "in_channels": 1, "classes": CLASSES, "options": {}},
    **{"weights": None, "weights_sha256": "0", "folds_sha256": "0", "size": 64, "fold": 0, "epoch": 1, "dice": 0.5},
}


@fuzz
@given(content=files_of(MODEL))
def test_descriptions_of_models(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "model.json").write_bytes(content)
    with bounded():
        read_info(tmp_path)


@fuzz
@given(content=files_of({"threshold": 0.5, "clean_up": {}, "searches": {}, "members": {"current": 1, "b": {"a": 2}}}))
def test_decisions(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "decision.json").write_bytes(content)
    with bounded():
        Decision.load(tmp_path / "decision.json", ["a"])


PIN = {"revision": "b", "commit": "c", "arch": "Unet", "encoder": None, "size": 512, "window": None, "records": {"oof": "hash"}}


@fuzz
@given(content=files_of({"outs": [], "meta": PIN}))
def test_pins_of_experiments(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.dvc").write_bytes(content)
    with bounded():
        read_pin(tmp_path / "b.dvc")
