"""Files of earlier experiments: what a stage wrote in another revision, as it is in DVC's cache. The working tree does not change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handbone.utils.errors import Problem, UserError, raise_if_any


def cached_outs(rev: str, outs: Sequence[Path]) -> list[Path]:
    """The files in DVC's cache that the cached outs `outs` have in a revision.

    rev: what git or DVC knows as one: a commit, a tag, a branch, the name of an experiment.
    Raises `UserError` if there is no such revision, if the project there cannot be read, and with each out that the revision does not have
    or the cache does not.
    """
    from dvc.exceptions import DvcException  # takes a quarter of a second to import
    from dvc.repo import Repo
    from dvc.scm import RevError

    try:
        if not rev:  # as from a variable of the shell that is not set; DVC would take the working tree
            raise RevError("an empty name")
        with Repo(rev=rev) as repo:
            files = [_cached(repo, out) for out in outs]
    except RevError as error:
        fix = "git log --oneline and dvc exp list name those that there are"
        raise UserError(Problem("revision.unknown", repr(rev), "a commit, tag, branch or experiment", str(error), fix)) from None
    except DvcException as error:
        fix = "run it in the repository's root, with a revision whose dvc.yaml and dvc.lock DVC can read"
        raise UserError(Problem("revision.unreadable", rev, "a revision of this project", str(error), fix)) from None
    raise_if_any(_problems(rev, outs, files), f"{rev} cannot be read")
    return [file for file in files if file]


def _cached(repo: Any, out: Path) -> Path | None:
    """The file in the cache, which need not exist; None if no stage wrote this out in the revision."""
    from dvc.exceptions import OutputNotFoundError

    try:
        (found,) = repo.find_outs_by_path(str(out))
    except OutputNotFoundError:
        return None
    return Path(found.cache_path) if found.hash_info else None


def _problems(rev: str, outs: Sequence[Path], files: Sequence[Path | None]) -> list[Problem]:
    names = " ".join(map(str, outs))
    fetch = f"run dvc fetch --all-commits {names}; for somebody's experiment, dvc exp pull REMOTE {rev}"
    problems = []
    for out, file in zip(outs, files, strict=True):
        place = f"{rev}: {out}"
        if file is None:
            fix = "choose a revision in which dvc repro or dvc exp run ended and dvc.lock was committed"
            problems.append(Problem("revision.no_result", place, "the result of a stage", "none in dvc.lock", fix))
        elif not file.is_file():
            problems.append(Problem("revision.not_cached", place, "the file in DVC's cache", "none", fetch))
    return problems
