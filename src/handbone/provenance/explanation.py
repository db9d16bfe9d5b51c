"""Everything about one submission: its record, its score, the commit that holds it, and how it is made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from handbone.provenance.history import (
    LOCK,
    Commit,
    GitUnavailableError,
    ask_git,
    changed_files,
    commits_recording,
    file_at,
    is_shallow,
    lock_here,
    object_at,
    out_md5,
)
from handbone.provenance.record import Record, read_record, record_of
from handbone.provenance.revisions import cached_outs
from handbone.provenance.stored import Stored, stored_at
from handbone.utils.errors import Problem, UserError
from handbone.utils.file_errors import reading
from handbone.utils.hashing import file_hash


@dataclass(frozen=True)
class GraphFiles:
    """The files of the graph that are asked for, relative to the repository. tables: those whose hashes the record has, by name."""

    submission: Path
    record: Path
    metrics: Path
    tables: Mapping[str, Path]


@dataclass(frozen=True)
class History:
    """What git says. commits: those whose dvc.lock records the CSV; problem: why there is none, or why git cannot be asked, and `steps`
    that help. in_working_tree: whether the dvc.lock of the working tree records it. changed: tracked files that differ from HEAD.
    """

    commits: list[Commit]
    in_working_tree: bool
    changed: list[str]
    asked: bool = True
    problem: str | None = None
    steps: Sequence[str] = ()


@dataclass(frozen=True)
class Explanation:
    """What is known about a submission.

    record_from: where the record was found; metrics: the document of its commit or of the working tree, None if neither has it.
    commit: the one to make it again from; stored: what that has; here: whether each table of the working tree is the recorded one (None:
    there is no such file). answer: `stored`, `remote`, `run`, `no`, `not_committed` or `unknown`, as `SENTENCES` says; steps: commands.
    """

    csv: Path
    sha256: str
    md5: str
    record: Record
    record_from: str
    metrics: dict[str, Any] | None
    history: History
    commit: Commit | None
    stored: Stored | None
    here: dict[str, bool | None]
    answer: str
    steps: list[str]

    def document(self) -> dict[str, Any]:
        """The same as a JSON document."""
        return asdict(self) | {"csv": str(self.csv)}


def explain(csv: Path, files: GraphFiles) -> Explanation:
    """Find out where the submission `csv` comes from, in the repository of the working directory.

    Raises `UserError` if there is no such file, if its record cannot be used, and if neither a record nor a commit is found.
    """
    with reading(csv):
        md5, sha256 = hashlib.md5(csv.read_bytes(), usedforsecurity=False).hexdigest(), file_hash(csv)
    history = ask_history(files, md5)
    commit, stored = _best(history.commits)
    record, source = _record(csv, files, history, commit)
    answer = _answer(history, stored, files)
    steps = _steps(answer, history, commit, stored, files)
    metrics, here = _metrics(files, history, commit), _here(record, files)
    return Explanation(csv, sha256, md5, record, source, metrics, history, commit, stored, here, answer, steps)


def ask_history(files: GraphFiles, md5: str) -> History:
    """Which commits record a submission of this content, and if there is none, why."""
    out, folder = files.submission.as_posix(), Path()
    here = out_md5(lock_here(), out)
    try:
        commits, changed = commits_recording(folder, out, md5), changed_files(folder)
        if commits:
            return History(commits, here == md5, changed)
        return History([], here == md5, changed, True, *_why_not(out, here == md5, changed))
    except GitUnavailableError as error:
        return History([], here == md5, [], False, f"git cannot be asked: {error.reason}", [error.help])


def _why_not(out: str, here: bool, changed: Sequence[str]) -> tuple[str, list[str]]:
    if here:
        named = sorted({LOCK, *changed})
        add = f"git add {' '.join(named)}" if len(named) <= 8 else f"git add {LOCK} && git add --update"
        return f"never committed: {LOCK} in the working tree records it, but in no commit", [add, "git commit -m 'A submission'"]
    folder = Path()
    recorded = out_md5(object_at(folder, "HEAD", LOCK), out)
    state = f"{LOCK} in HEAD records another CSV (MD5 {recorded[:12]})" if recorded else f"{LOCK} in HEAD records no {out}"
    steps = ["git fetch --unshallow"] if is_shallow(folder) else []
    remotes = ask_git(folder, "remote").split()
    steps += [step for remote in remotes[:1] for step in ("git fetch --all --tags", f"dvc exp pull {remote} --all-commits")]
    steps += [] if steps else ["run dvc repro, and commit dvc.lock with the CSV"]
    return f"no branch, tag or experiment records it; {state}, and so does the working tree", steps


def _best(commits: Sequence[Commit]) -> tuple[Commit | None, Stored | None]:
    """The first commit whose code and parameters match its dvc.lock, or else the first."""
    asked = list[tuple[Commit, Stored]]()
    for commit in commits:
        asked.append((commit, stored_at(commit.commit)))
        if asked[-1][1].readable and not asked[-1][1].changed:
            return asked[-1]
    return asked[0] if asked else (None, None)


def _record(csv: Path, files: GraphFiles, history: History, commit: Commit | None) -> tuple[Record, str]:
    """The record beside the CSV, or that of the commit which records the CSV."""
    beside = record_of(csv)
    if beside.is_file():
        return read_record(beside, csv), str(beside)
    if commit is not None:
        (cached,) = cached_outs(commit.commit, [files.record])
        return read_record(cached, csv), f"{files.record} of commit {commit.commit[:10]}"
    fix = "; ".join([f"put the record beside it, or find its commit ({history.problem})", *history.steps])
    raise UserError(Problem("explain.no_record", str(beside), "the record that the stage submit writes beside a submission", "none", fix))


def _answer(history: History, stored: Stored | None, files: GraphFiles) -> str:
    if stored is None:
        return "not_committed" if history.asked else "unknown"
    if files.submission.as_posix() in stored.local:
        return "stored"
    if files.submission.as_posix() in stored.remote:
        return "remote"
    if stored.readable and not stored.changed and not stored.sources:
        return "run"
    return "unknown" if stored.problem else "no"


def _steps(answer: str, history: History, commit: Commit | None, stored: Stored | None, files: GraphFiles) -> list[str]:
    if commit is None or stored is None:
        return list(history.steps)
    steps = ["git stash"] if history.changed else []
    steps.append(f"git checkout {commit.commit[:12]}")
    both = f"{files.submission} {files.record}"
    if answer == "remote":
        steps.append(f"dvc fetch {both}")
    if answer in ("stored", "remote"):
        return [*steps, f"dvc checkout {both}"]
    if stored.remote_name:
        steps.append("dvc pull" if not stored.lost else "dvc pull --allow-missing")
    elif stored.local:
        steps.append("dvc checkout --allow-missing")
    return [*steps, "dvc repro"]


def _metrics(files: GraphFiles, history: History, commit: Commit | None) -> dict[str, Any] | None:
    """reports/metrics.json of the commit, or of the working tree if its dvc.lock records the CSV; None if it is not the recorded file."""
    name, content = files.metrics.as_posix(), None
    if commit is not None:
        recorded, content = out_md5(object_at(Path(), commit.commit, LOCK), name), file_at(Path(), commit.commit, name)
    elif history.in_working_tree and files.metrics.is_file():
        recorded, content = out_md5(lock_here(), name), files.metrics.read_bytes()
    if content is None or hashlib.md5(content, usedforsecurity=False).hexdigest() != recorded:
        return None
    try:
        document = json.loads(content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _here(record: Record, files: GraphFiles) -> dict[str, bool | None]:
    recorded = record["data_sha256"] | {"folds": record["folds_sha256"]}
    return {name: file_hash(path) == recorded.get(name) if path.is_file() else None for name, path in files.tables.items()}
