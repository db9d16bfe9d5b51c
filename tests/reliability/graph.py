"""The graph in miniature, with its state before each stage: what the faults are injected into, and what every rerun must end in."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from project import Project

TINY = {
    "phantom": {"size": 64, "train_people": 4, "test_people": 2},
    "split": {"n_folds": 2},
    "folds": [0, 1],
    "model": {"encoder": "resnet18", "options": {"Unet": {"decoder_channels": [16, 8, 8, 8, 8]}}},
    "train": {"size": 64, "epochs": 6, "batch_size": 2, "validate_every": 2},
    "machine": {"preprocess_workers": 2, "num_workers": 1},
}
STAGES = ["phantom", "preprocess", "split", "pseudo", "train@0", "train@1", "infer@oof", "infer@test", "validate", "submit", "report"]
LOOP = "train@0"  # the stage whose loop gets most of the moments
RESULTS = ["data", "models", "reports", "submissions", ".dvc/tmp/resume", "dvc.lock"]
# what tells when and how fast a run was: the page's date and the times of stages, and the page's checksum and size
OF_THE_RUN = {
    "reports/index.html": re.compile(rb'\d{4}-\d\d-\d\d \d\d:\d\d UTC|<ol class="steps">.*?</section>', re.DOTALL),
    "dvc.lock": re.compile(rb"- path: reports/index\.html\n( {6}.*\n)*"),
}
LIMIT = 180.0  # seconds after which a command counts as hanging
Digests = dict[str, str]


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code (None: it did not end within the limit), its output, and its seconds."""

    code: int | None
    output: str
    seconds: float


@dataclass
class Running:
    """A command in its process group, which writes into a log."""

    process: subprocess.Popen[bytes]
    log: Path
    start: float

    def alive(self) -> bool:
        """Whether the command itself still runs."""
        return self.process.poll() is None

    def descendants(self) -> list[psutil.Process]:
        """Its processes, without the command itself."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def signal_group(self, number: int) -> None:
        """Send a signal to every process of the group, as a terminal or a scheduler does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait(self, limit: float = LIMIT) -> Ended:
        """Wait for its end; kill its group where it exceeds the limit."""
        try:
            code: int | None = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.signal_group(signal.SIGKILL)
            self.process.wait()
            code = None
        return Ended(code, self.log.read_text(errors="replace"), time.monotonic() - self.start)


class Attempt(Project):
    """A copy of the project in which one fault is injected."""

    def environment(self) -> dict[str, str]:
        """DVC's state of this copy is inside it: no other copy sees it, and a full disk is full for it too."""
        return super().environment() | {"DVC_SITE_CACHE_DIR": str(self.folder / ".dvc/tmp/site"), "OMP_WAIT_POLICY": "PASSIVE"}

    def start(self, command: str) -> Running:
        """Start a shell command in a new process group."""
        log = self.folder.with_name(f"{self.folder.name}.{time.monotonic_ns()}.log")
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Running(process, log, time.monotonic())

    def run(self, command: str) -> Ended:
        """Run a shell command to its end."""
        return self.start(command).wait()

    def checkpoints(self) -> list[Path]:
        """The states of unfinished trainings."""
        return list((self.folder / ".dvc/tmp/resume").glob("*/last.pt"))

    def orphans(self) -> list[psutil.Process]:
        """Processes that still run in this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(self.folder):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def digests(self) -> Digests:
        """SHA-256 of every result, without what is `OF_THE_RUN`, and of everything else that is in the folders of results."""
        paths = [path for name in RESULTS for path in [self.folder / name, *(self.folder / name).rglob("*")] if path.is_file()]
        contents = {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in sorted(paths)}
        same = {name: OF_THE_RUN[name].sub(b"", content) if name in OF_THE_RUN else content for name, content in contents.items()}
        return {name: hashlib.sha256(content).hexdigest() for name, content in same.items()}


@dataclass
class Graph:
    """The undisturbed run: for each stage the state before it, the results after it, and its seconds, bytes and start of the loop."""

    folder: Path
    after: dict[str, Digests]
    seconds: dict[str, float]
    kilobytes: dict[str, int]

    @classmethod
    def run(cls, folder: Path) -> Graph:
        """Run stage by stage, undisturbed, and keep the state before each."""
        project = Attempt.create(folder / "project", TINY)
        graph = cls(folder, {}, {}, {})
        for stage in STAGES:
            copy(project.folder, graph.state(stage))
            before = used(project.folder)
            ended = Attempt(project.folder).run(command(stage))
            if ended.code != 0:
                raise AssertionError(f"undisturbed, {stage} ends with {ended.code}:\n{ended.output}")
            graph.after[stage] = Attempt(project.folder).digests()
            graph.seconds[stage], graph.kilobytes[stage] = ended.seconds, used(project.folder) - before
        return graph

    def state(self, stage: str) -> Path:
        """The folder with everything before the stage."""
        return self.folder / "states" / stage

    @contextmanager
    def attempt(self, stage: str) -> Iterator[Attempt]:
        """A copy of the state before the stage, removed at the end; no process stays in it."""
        attempt = Attempt(self.folder / "attempts" / f"{time.monotonic_ns()}")
        copy(self.state(stage), attempt.folder)
        try:
            yield attempt
        finally:
            for process in attempt.orphans():
                process.kill()
            for path in attempt.folder.parent.glob(f"{attempt.folder.name}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def differences(self, stage: str, attempt: Attempt) -> list[str]:
        """The files that differ from the undisturbed run, are missing, or were left behind."""
        found, expected = attempt.digests(), self.after[stage]
        return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def command(stage: str) -> str:
    """The command that runs one stage."""
    return f"dvc repro --single-item {stage}"


def copy(source: Path, target: Path) -> None:
    """Copy a folder with its times, and as links what are links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def used(folder: Path) -> int:
    """Kilobytes on disk."""
    return int(subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=True).stdout.split()[0])
