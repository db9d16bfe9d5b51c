"""`python -m benchmarks.gpu`: everything that only a GPU can answer, in at most nine minutes -> gpu.json and logs.txt.

It needs a checkout and the packages of requirements.lock, no network and no data set, and works in a temporary folder.
`--tiny` runs the same sections at small sizes, on a CPU too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from benchmarks.gpu.runner import Options, Section, run_sections

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("benchmarks", "src", "stages", "presets", "weights/None", "pseudo/README.md", "dvc.yaml", "params.yaml")
TINY_S = 10.0  # that a section needs with --tiny


def _section(name: str, needed_s: float, preset: str = "", needs_data: bool = True, module: str = "") -> Section:
    return Section(f"{name}_{preset}" if preset else name, f"benchmarks.gpu.{module or name}:{name}", needed_s, preset, needs_data)


# what matters most first; seconds on an H100 with 16 cores, of which those of the first steps and of a start are measured
SECTIONS = (
    _section("environment", 8, needs_data=False),
    _section("data", 30, needs_data=False),
    _section("checks", 30),
    _section("steps", 90, "gpu24"),
    _section("memory", 30, "gpu24"),
    _section("inference", 35, "gpu24"),
    _section("trainings", 50),
    _section("steps", 95, "gpu80"),
    _section("memory", 35, "gpu80"),
    _section("plan", 45, "gpu24"),
    _section("variants", 50, "gpu24"),
    _section("stages", 60),
    _section("inference", 50, "gpu80"),
    _section("precision", 90, module="trainings"),
)


def main() -> None:
    """Run the chosen sections and print the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Check and time the GPU path.")
    parser.add_argument("--limit", type=float, default=530, metavar="SECONDS", help="for all sections together (default: 530)")
    parser.add_argument("--only", default="", metavar="A,B", help=f"of {', '.join(section.name for section in SECTIONS)}")
    parser.add_argument("--out", type=Path, default=Path(gettempdir()) / "handbone-gpu", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--compile", action="store_true", dest="compiled", help="also measure torch.compile, which takes minutes")
    chosen = parser.parse_args()
    sections = choose(chosen.only, chosen.tiny)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # through `finally`, which ends the section
    chosen.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="handbone-gpu-") as name:
        work = Path(name)
        _copy(work)
        options = Options(chosen.limit, work, chosen.out, [work / "src", work], chosen.tiny, chosen.compiled)
        facts = {"command": _command(chosen), "commit": _commit()}
        report = run_sections(sections, options, facts)
    print(json.dumps(report))
    print(f"{chosen.out / 'gpu.json'} and logs.txt written", file=sys.stderr)
    if failures := failed(report["sections"]):
        sys.exit(f"failed: {', '.join(failures)}")


def choose(only: str, tiny: bool) -> list[Section]:
    """The sections named in `only`, with commas, and `data` where one of them needs it; all for "". Exits for an unknown name."""
    names = {name for name in only.split(",") if name}
    if unknown := names - {section.name for section in SECTIONS}:
        raise SystemExit(f"--only: no such section: {', '.join(sorted(unknown))}; there are {', '.join(each.name for each in SECTIONS)}")
    if any(section.needs_data for section in SECTIONS if section.name in names):
        names.add("data")
    chosen = [section for section in SECTIONS if section.name in names or not names]
    return [replace(each, needed_s=TINY_S) for each in chosen] if tiny else chosen


def failed(sections: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The sections that ended early, as `section`, and the parts of sections that failed, as `section.part`."""
    parts = [(name, key) for name, found in sections.items() for key in found if key == "failed" or key.endswith("_failed")]
    return [name if key == "failed" else f"{name}.{key.removesuffix('_failed')}" for name, key in parts]


def _command(chosen: argparse.Namespace) -> str:
    """The command that repeats the run, without the folder of its results."""
    flags = [flag for flag, given in (("--tiny", chosen.tiny), ("--compile", chosen.compiled)) if given]
    only = ["--only", chosen.only] if chosen.only else []
    return " ".join(["python -m benchmarks.gpu", *only, *flags, f"--limit {chosen.limit:g}"])


def _copy(work: Path) -> None:
    for name in COPIED:
        source, target = ROOT / name, work / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".study"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)


def _commit() -> str | None:
    """The commit of the checkout, with + for uncommitted changes; null outside of git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=10"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    main()
