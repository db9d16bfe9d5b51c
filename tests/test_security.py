"""Foreign files cannot run code, leave their folder, write into the page, or fill the memory; and what is installed is known."""

from __future__ import annotations

import ast
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from handbone.cache.sample import read_sample
from handbone.config import paths
from handbone.config.yaml12 import read_yaml
from handbone.dataset.preprocess import read_image
from handbone.models.pretrained import read_weights
from handbone.report.charts import classes_svg
from handbone.submission.csv import write_submission
from handbone.training.checkpoint import Checkpoint
from handbone.utils.errors import UserError
from imports import ROOT
from reliability.licences import licences, locked, unexamined
from small_page import small_page

if TYPE_CHECKING:
    from conftest import Fails

CODE = sorted(file for folder in ("src", "stages", "benchmarks", "docs") for file in (ROOT / folder).rglob("*.py"))
UNPICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
EVIL = "<script>alert(1)</script>"


def calls(file: Path) -> list[tuple[str, ast.Call]]:
    """The calls of a file with what is called, e.g. `torch.load`."""
    tree = ast.parse(file.read_text())
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def option(call: ast.Call, name: str) -> Any:
    """The value of a constant keyword argument; None if it is not given."""
    return next((ast.literal_eval(given.value) for given in call.keywords if given.arg == name), None)


@pytest.mark.parametrize("file", CODE, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_is_unpickled_or_evaluated(file: Path) -> None:
    for name, call in calls(file):
        where = f"line {call.lineno}: {name}"
        last = name.split(".")[-1]
        assert name not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"), where
        assert last not in ("unsafe_load", "full_load", "read_pickle", "load_all"), where
        assert not (name == "subprocess.run" and option(call, "shell")), where
        if last in ("load_state_dict_from_url",) or name == "torch.load":
            assert option(call, "weights_only") is True, where
        if name in ("np.load", "numpy.load", "npy.read_array", "np.lib.format.read_array"):
            assert option(call, "allow_pickle") in (False, None), where  # NumPy's default is false too
        if name == "yaml.load":
            assert any(keyword.arg == "Loader" and "_Yaml12Loader" in ast.unparse(keyword.value) for keyword in call.keywords), where
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & UNPICKLING
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLING:
            assert {alias.name for alias in node.names} <= {"UnpicklingError"}


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [touch ran]", "!!python/name:os.system ''", "!!python/tuple [1]", "!x 1"])
def test_yaml_tags_are_refused(tag: str, tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"seed: {tag}\n")
    with fails("params.yaml", "params.yaml"):
        read_yaml(path)
    assert not Path("ran").exists()


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("reader", ["weights", "checkpoint", "npz"])
def test_files_that_hold_code_are_refused_and_do_not_run_it(reader: str, tmp_path: Path) -> None:
    ran, file = tmp_path / "ran", tmp_path / "last.pt"
    evil = Evil(ran)
    if reader == "npz":
        np.savez(tmp_path / "last.npz", image=np.array([evil], object), shape=np.array([1, 1]))
    else:
        torch.save({"weight": torch.zeros(1), "evil": evil}, file)
    read = {
        "weights": lambda: read_weights(file),
        "checkpoint": Checkpoint(tmp_path).load,
        "npz": lambda: read_sample(tmp_path / "last.npz"),
    }
    with pytest.raises(UserError):
        read[reader]()
    assert not ran.exists()
    evil.__reduce__()[0](ran)  # it would have
    assert ran.exists()


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "A/../../x", "A/b\0c"])
def test_keys_cannot_leave_their_folder(key: str, fails: Fails) -> None:
    for path in (lambda: paths.cached_sample("train", key), lambda: paths.prediction("oof", key), lambda: paths.pseudo_sample(key)):
        with fails("paths.key"):
            path()


@pytest.mark.parametrize("key", ["ID001/image", "a..b/c", "..a/b", "한글/é"])
def test_other_keys_are_paths_below_the_folder(key: str) -> None:
    assert paths.cached_sample("train", key).as_posix() == f"data/cache/train/{key}.npz"


def test_names_of_classes_and_images_stay_one_field_of_the_submission(tmp_path: Path) -> None:
    """A quotation mark, a comma or a line end in a name begins no new field; and no name becomes part of a path."""
    import csv

    names = ["a,b", 'say "hi"', "two\nlines", "../../x", "=1+1", EVIL]
    write_submission(tmp_path / "s.csv", [(name, name, "1 2") for name in names])
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["image_name", "class", "rle"], *([name, name, "1 2"] for name in names)]
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def test_the_page_escapes_every_name() -> None:
    """People, images, classes, files and parameters called `<script>`; a quotation mark would end an attribute."""
    page = small_page(f'{EVIL}" onload="alert(1)')
    assert page.count("<script") == 1, "its own, which the policy names by its hash"
    Tags(page)


def test_the_bars_escape_the_names_of_classes() -> None:
    import pandas as pd

    svg = classes_svg(pd.DataFrame({"class": [EVIL, "Radius"], "dice": [0.5, 0.6], "low": 0.4, "high": 0.7}))
    assert "<script" not in svg


def png_claiming(width: int, height: int) -> bytes:
    """A small file: a PNG of that size whose pixels are all zero."""
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(1 + width)) for _ in range(min(height, 200))) + packed.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


BOMB = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {source!r})
from handbone.cache.sample import read_sample
from handbone.dataset.preprocess import read_image
from handbone.utils.errors import UserError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {call}
except UserError as error:
    print(error)
print("grown", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("kind", ["png", "npz"])
def test_decompression_bombs_take_no_memory(kind: str, tmp_path: Path) -> None:
    """A few megabytes on the disk that claim a gigabyte in memory are refused by what their header says."""
    path = tmp_path / f"bomb.{kind}"
    if kind == "png":
        path.write_bytes(png_claiming(30_000, 40_000))
        call = f"read_image(Path({str(path)!r}), 1)"
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("image.npy", "w") as member:
            header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (40000, 30000), }"
            member.write(b"\x93NUMPY\1\0" + struct.pack("<H", 118) + header.ljust(117) + b"\n")
            for _ in range(1200):
                member.write(bytes(10**6))
        call = f"read_sample(Path({str(path)!r}))"
    assert path.stat().st_size < 1e7
    words = [sys.executable, "-c", BOMB.format(source=str(ROOT / "src"), call=call)]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=60)
    assert done.returncode == 0 and path.name in done.stdout, done.stdout + done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) < 200_000, done.stdout  # kilobytes


def test_a_sound_image_below_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_claiming(300, 200))
    assert read_image(tmp_path / "a.png", 1).shape == (200, 300)


def test_every_locked_package_has_a_hash() -> None:
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(entries) > 100
    for entry in entries:
        assert "==" in entry and "--hash=sha256:" in entry, entry
    makefile = (ROOT / "Makefile").read_text()
    assert (
        makefile.count("--require-hashes") == makefile.count("install --quiet") - 1
    )  # all except the project itself, without its dependencies


def test_the_licence_of_every_locked_package_is_known() -> None:
    found = licences()
    assert len(found) > 0.8 * len(locked())
    assert not unexamined(found)


@pytest.mark.parametrize(
    "text", ["GPL-3.0-only", "GNU Affero General Public License v3", "Other/Proprietary License", "unknown", "MIT AND GPL-3.0"]
)
def test_another_licence_would_be_noticed(text: str) -> None:
    assert unexamined({"new-package": text})
    assert not unexamined({"new-package": "MIT"})
