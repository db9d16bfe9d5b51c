"""Files of earlier experiments: what a stage wrote in another revision, as it is in DVC's cache. The working tree does not change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from handbone.utils.errors import Problem, UserError, raise_if_any

Found = TypeVar("Found")


@dataclass(frozen=True)
class StoredFolder:
    """An out of a stage that is a folder.

    entry: how DVC's files name its content (md5, size, nfiles, hash); files: in the cache, by their path in the folder; params: those that
    the stage depends on, with their values then, e.g. {"train.size": 512}.
    """

    entry: dict[str, Any]
    files: Mapping[str, Path]
    params: Mapping[str, Any]

    @property
    def is_complete(self) -> bool:
        """Whether the cache has the list of its files and each of them."""
        return bool(self.files) and all(file.is_file() for file in self.files.values())


def cached_outs(rev: str, outs: Sequence[Path]) -> list[Path]:
    """The files in DVC's cache that the cached outs `outs`, which are files, have in a revision.

    rev: what git or DVC knows as one: a commit, a tag, a branch, the name of an experiment.
    Raises `UserError` if there is no such revision, if the project there cannot be read, and with each out that the revision does not have
    or the cache does not.
    """
    with _revision(rev) as repo:
        files = _found(repo, outs, lambda out: Path(out.cache_path))
    _require_all(rev, outs, {out: file.is_file() for out, file in files.items()})
    return list(files.values())


def stored_folders(rev: str, outs: Sequence[Path]) -> tuple[str, list[StoredFolder]]:
    """The commit of a revision, and its outs `outs`, which are folders. Raises `UserError` as `cached_outs` does."""
    with _revision(rev) as repo:
        folders, commit = _found(repo, outs, _folder), str(repo.get_rev())
    _require_all(rev, outs, {out: folder.is_complete for out, folder in folders.items()})
    return commit, list(folders.values())


@contextmanager
def _revision(rev: str) -> Iterator[Any]:
    """The project as it was in a revision, as a `dvc.repo.Repo`."""
    from dvc.exceptions import DvcException  # takes a quarter of a second to import
    from dvc.repo import Repo
    from dvc.scm import RevError

    try:
        if not rev:  # as from a variable of the shell that is not set; DVC would take the working tree
            raise RevError("an empty name")
        with Repo(rev=rev) as repo:
            yield repo
    except RevError as error:
        fix = "git log --oneline and dvc exp list name those that there are"
        raise UserError(Problem("revision.unknown", repr(rev), "a commit, tag, branch or experiment", str(error), fix)) from None
    except DvcException as error:
        fix = "run it in the repository's root, with a revision whose dvc.yaml and dvc.lock DVC can read"
        raise UserError(Problem("revision.unreadable", rev, "a revision of this project", str(error), fix)) from None


def _found(repo: Any, outs: Sequence[Path], read: Callable[[Any], Found]) -> dict[Path, Found]:
    """What `read` finds in each out that a stage wrote in the revision."""
    from dvc.exceptions import OutputNotFoundError

    found: dict[Path, Found] = {}
    for out in outs:
        with suppress(OutputNotFoundError):
            (written,) = repo.find_outs_by_path(str(out))
            if written.hash_info:
                found[out] = read(written)
    return found


def _folder(out: Any) -> StoredFolder:
    from dvc.dependency import ParamsDependency

    tree = out.get_obj() if out.hash_info.isdir else None  # None too if the cache does not have the list of its files
    files = {"/".join(parts): Path(out.cache.oid_to_path(content.value)) for parts, _, content in tree or ()}
    listed = [dependency.hash_info.value for dependency in out.stage.deps if isinstance(dependency, ParamsDependency)]
    entry = {name: value for name, value in out.dumpd().items() if name != "path"}
    return StoredFolder(entry, files, {name: value for values in listed for name, value in (values or {}).items()})


def _require_all(rev: str, outs: Sequence[Path], complete: Mapping[Path, bool]) -> None:
    """complete: of the outs that the revision has, whether the cache has them."""
    fetch = f"run dvc fetch --all-commits {' '.join(map(str, outs))}; for somebody's experiment, dvc exp pull REMOTE {rev}"
    problems = []
    for out in outs:
        place = f"{rev}: {out}"
        if out not in complete:
            fix = "choose a revision in which dvc repro or dvc exp run ended and dvc.lock was committed"
            problems.append(Problem("revision.no_result", place, "the result of a stage", "none in dvc.lock", fix))
        elif not complete[out]:
            problems.append(Problem("revision.not_cached", place, "all of it in DVC's cache", "not all", fetch))
    raise_if_any(problems, f"{rev} cannot be read")
