"""Machine code is compiled once for equal sources, wherever they are, and never used for other sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from handbone.masks import kernels

INNER = "from handbone.masks.kernels import kernel\n\n\n@kernel\ndef step(value: int) -> int:\n    return value + {}\n"
OUTER = """
import numpy as np

from handbone.inner import step
from handbone.masks.kernels import kernel


@kernel
def twice(value):
    return step(step(value))


if __name__ == "__main__":
    print(twice(0), twice(0.0))
    print(sum(twice.stats.cache_hits.values()), sum(twice.stats.cache_misses.values()))
"""


def package(folder: Path, step: int = 1) -> Path:
    """A package with two files of kernels, one of which calls the other; the folder to import it from."""
    masks = folder / "handbone/masks"
    masks.mkdir(parents=True)
    (masks.parent / "__init__.py").touch()
    (masks / "__init__.py").touch()
    (masks / "kernels.py").write_bytes(Path(kernels.__file__).read_bytes())
    (masks.parent / "outer.py").write_text(OUTER)
    (masks.parent / "inner.py").write_text(INNER.format(step))
    return folder


def start(folder: Path, cache: Path | str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environment |= {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-W", "error", "-c", "import runpy; runpy.run_module('handbone.outer', run_name='__main__')"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[str, int, int]:
    """-> results, cache hits and misses."""
    output, _ = process.communicate()
    assert process.returncode == 0, output
    results, counts = output.splitlines()  # nothing else is printed, neither a warning
    hits, misses = map(int, counts.split())
    return results, hits, misses


def run(folder: Path, cache: Path | str) -> tuple[str, int, int]:
    return finish(start(folder, cache))


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A package that ran once -> its folder and its cache."""
    folder = tmp_path_factory.mktemp("kernels")
    assert run(package(folder / "one"), folder / "cache") == ("2 2.0", 0, 2)
    return folder / "one", folder / "cache"


def test_a_second_clone_compiles_nothing(compiled: tuple[Path, Path], tmp_path: Path) -> None:
    one, cache = compiled
    before = files(cache)
    assert before
    assert run(package(tmp_path / "two"), cache) == ("2 2.0", 2, 0)
    assert files(cache) == before
    assert not list(one.rglob("*.nb?")) and not list(tmp_path.rglob("*.nb?")), "numba's files are in the clone"


def test_a_kernel_is_compiled_again_when_one_that_it_calls_has_changed(compiled: tuple[Path, Path], tmp_path: Path) -> None:
    _, cache = compiled
    assert run(package(tmp_path / "changed", step=10), cache) == ("20 20.0", 0, 2)


def test_without_a_writable_folder_kernels_run_and_nothing_is_printed(compiled: tuple[Path, Path]) -> None:
    one, _ = compiled
    assert run(one, "/dev/null/x") == ("2 2.0", 0, 2)


def test_processes_may_compile_the_same_kernels_at_the_same_time(tmp_path: Path) -> None:
    folder = package(tmp_path / "one")
    processes = [start(folder, tmp_path / "cache") for _ in range(3)]
    assert {finish(process)[0] for process in processes} == {"2 2.0"}
    assert run(folder, tmp_path / "cache")[0] == "2 2.0"


def test_the_folder_is_chosen_by_the_environment() -> None:
    environment = {"XDG_CACHE_HOME": "/x", "NUMBA_CACHE_DIR": "/n"}
    assert kernels.cache_folder(environment).parent == Path("/n/handbone")
    assert kernels.cache_folder({"XDG_CACHE_HOME": "/x"}).parent == Path("/x/handbone")
    assert kernels.cache_folder({}).parent == Path("~/.cache/handbone").expanduser()
