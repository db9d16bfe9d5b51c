"""Questions to git: which commit, branch, tag or experiment has a dvc.lock that records a file of this content?"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from handbone.config.yaml12 import parse_yaml

LOCK = "dvc.lock"
KINDS = {"refs/heads/": "branch", "refs/remotes/": "branch", "refs/tags/": "tag"}
ALL = ["--exclude=refs/exps/exec/*", "--exclude=refs/exps/apply/*", "--all"]  # without the references of DVC's own bookkeeping
EXPERIMENT = re.compile("refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/")
Lock = dict[str, Any]


class GitUnavailableError(Exception):
    """Git cannot be asked. reason: what it says; help: the command or the step that changes this."""

    def __init__(self, reason: str, help: str) -> None:
        super().__init__(reason)
        self.reason, self.help = reason, help


@dataclass(frozen=True)
class Commit:
    """A commit whose dvc.lock records the file. names: the branches and tags that contain it, or else the experiments."""

    commit: str
    subject: str
    names: list[str]

    @property
    def of_experiment(self) -> bool:
        """Whether only experiments hold it."""
        return not any(name.startswith(("branch ", "tag ")) for name in self.names)


def ask_git(folder: Path, *arguments: str) -> str:
    """What git prints. Raises `GitUnavailableError` if it is not installed or refuses."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=os.environ | {"LC_ALL": "C"})
    except OSError as error:
        raise GitUnavailableError(str(error), "install git") from None
    if done.returncode:
        raise GitUnavailableError(*_refusal(done.stderr.strip(), folder))
    return done.stdout


def _refusal(message: str, folder: Path) -> tuple[str, str]:
    """What git says, in a line, and what helps."""
    lines = message.splitlines() or ["git failed without a message"]
    if "dubious ownership" in message:
        added = [line.strip() for line in lines if "safe.directory" in line]
        return lines[0], f"run {added[0] if added else f'git config --global --add safe.directory {folder.absolute()}'}"
    if "not a git repository" in message:
        return lines[0], "run it in the repository's root; in a copy without .git, clone the repository instead"
    if "Needed a single revision" in message:
        return "no such revision", "git log --oneline, git branch and git tag name those that there are"
    return lines[0], "run git status, which says more"


def commits_recording(folder: Path, out: str, md5: str) -> list[Commit]:
    """The commits of any branch, tag or experiment whose dvc.lock records `md5` for `out`: HEAD first, those of experiments last.

    Raises `GitUnavailableError`.
    """
    head = ask_git(folder, "for-each-ref", "--count=1") and _head(folder)
    # -m: also merges, where a conflict in dvc.lock may have been resolved
    changing = ask_git(folder, "log", *ALL, "-m", "--format=%H", f"-S{md5}", "--", LOCK).split()
    candidates = dict.fromkeys(filter(None, [head, *changing]))
    found = [_commit(folder, commit) for commit in candidates if out_md5(object_at(folder, commit, LOCK), out) == md5]
    return sorted(found, key=lambda commit: (commit.commit != head, commit.of_experiment))


def _head(folder: Path) -> str:
    """The commit that is checked out; empty on a branch without commits."""
    try:
        return ask_git(folder, "rev-parse", "--verify", "HEAD").strip()
    except GitUnavailableError:
        return ""


def lock_here() -> Lock:
    """The dvc.lock of the working directory; empty if there is none that can be read."""
    try:
        return _parsed(Path(LOCK).read_bytes())
    except OSError:
        return {}


def object_at(folder: Path, commit: str, path: str) -> dict[str, Any]:
    """The YAML or JSON of a file in a commit; empty if there is no such file, or none that holds an object."""
    return _parsed(file_at(folder, commit, path) or b"")


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        document = parse_yaml(content.decode(errors="replace"))
    except (ValueError, yaml.YAMLError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def out_md5(lock: Lock, out: str) -> str | None:
    """The MD5 that a dvc.lock records for an out; None if it records none."""
    return next((entry.get("md5") for entry in _outs(lock) if entry.get("path") == out), None)


def _outs(lock: Lock) -> Iterator[dict[str, Any]]:
    stages = lock.get("stages")
    for stage in stages.values() if isinstance(stages, dict) else ():
        entries = stage.get("outs") if isinstance(stage, dict) else None
        yield from (entry for entry in entries or () if isinstance(entry, dict))


def _commit(folder: Path, commit: str) -> Commit:
    subject = ask_git(folder, "show", "--no-patch", "--format=%s", commit).strip()
    refs = ask_git(folder, "for-each-ref", "--contains", commit, "--format=%(refname)").split()
    names = [f"{kind} {ref.removeprefix(start)}" for ref in refs for start, kind in KINDS.items() if ref.startswith(start)]
    if not names:  # an experiment contains the commits that it started from, which are not worth naming
        names = [f"experiment {ref.split('/', 4)[4]}" for ref in refs if EXPERIMENT.match(ref)]
    return Commit(commit, subject, names)


def changed_files(folder: Path) -> list[str]:
    """The tracked files that differ from the commit that is checked out. Raises `GitUnavailableError`."""
    return [line[3:] for line in ask_git(folder, "status", "--porcelain", "--untracked-files=no").splitlines()]


def file_at(folder: Path, commit: str, path: str) -> bytes | None:
    """The content of a file in a commit; None if it has no such file."""
    try:
        done = subprocess.run(["git", "-C", str(folder), "show", f"{commit}:./{path}"], capture_output=True)
    except OSError:
        return None
    return None if done.returncode else done.stdout


def is_shallow(folder: Path) -> bool:
    """Whether the clone lacks older commits. Raises `GitUnavailableError`."""
    return ask_git(folder, "rev-parse", "--is-shallow-repository").strip() == "true"
