"""Files of earlier experiments: what a stage wrote in another revision, as it is in DVC's cache. The working tree does not change."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from handbone.utils.errors import Problem, UserError, all_of, raise_if_any

Found = TypeVar("Found")


@dataclass(frozen=True)
class StoredFolder:
    """An out of a revision that is a folder.

    rev, out: as they were asked for; entry: how DVC's files name its content (md5, size, nfiles, hash); objects: in the cache, by their
    path in the folder; params: those that its stage depends on, with their values then, e.g. {"train.size": 512}.
    """

    rev: str
    out: Path
    entry: dict[str, Any]
    objects: Mapping[str, Path]
    params: Mapping[str, Any]

    def file(self, path: Path) -> Path:
        """The file in DVC's cache. path: as the stage wrote it, in the folder. Raises `UserError` if the folder or the cache lacks it."""
        place, found = f"{self.rev}: {path}", self.objects.get(path.relative_to(self.out).as_posix())
        if found is None:
            fix = "choose a revision of the same data and of this version of the code"
            raise UserError(Problem("revision.no_file", place, "a file of this folder", "none", fix))
        if not found.is_file():
            raise UserError(Problem("revision.not_cached", place, "the file in DVC's cache", "none", _fetch(self.rev, [self.out])))
        return found

    @property
    def is_complete(self) -> bool:
        """Whether the cache has each of its files."""
        return all(file.is_file() for file in self.objects.values())


def cached_outs(rev: str, outs: Sequence[Path]) -> list[Path]:
    """The files in DVC's cache that the cached outs `outs`, which are files, have in a revision.

    rev: what git or DVC knows as one: a commit, a tag, a branch, the name of an experiment.
    Raises `UserError` if there is no such revision, if the project there cannot be read, and with each out that the revision does not have
    or the cache does not.
    """
    with _revision(rev) as repo:
        files = _found(repo, rev, outs, lambda _, out: Path(out.cache_path))
    _require_all(rev, outs, {out: file.is_file() for out, file in files.items()})
    return list(files.values())


def stored_folders(rev: str, outs: Sequence[Path], *, complete: bool = False) -> tuple[str, list[StoredFolder]]:
    """The commit of a revision, and its outs `outs`, which are folders: of stages, or of .dvc files in git.

    complete: the cache must have each of their files, not only their lists.
    Raises `UserError` as `cached_outs` does, and for each list that cannot be read.
    """
    with _revision(rev) as repo:
        folders, commit = _found(repo, rev, outs, partial(_folder, rev)), str(repo.get_rev())
    held = {out: folder is not None and (folder.is_complete or not complete) for out, folder in folders.items()}
    _require_all(rev, outs, held)
    return commit, [folder for folder in folders.values() if folder is not None]


def listed_hashes(out: Any) -> dict[str, str]:
    """The MD5 of each file of a `dvc.output.Output` that is a folder, by path in the folder.

    Raises `ValueError` if the cache has another file in the place of its list.
    """
    try:
        entries = json.loads(Path(out.cache_path).read_bytes())
        return {str(entry["relpath"]): str(entry["md5"]) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("not a list of files") from error


@contextmanager
def _revision(rev: str) -> Iterator[Any]:
    """The project as it was in a revision, as a `dvc.repo.Repo`."""
    from dvc.exceptions import DvcException  # takes a quarter of a second to import
    from dvc.repo import Repo
    from dvc.scm import RevError
    from pygit2 import GitError

    try:
        if not rev:  # as from a variable of the shell that is not set; DVC would take the working tree
            raise RevError("an empty name")
        with Repo(rev=rev) as repo:
            yield repo
    except RevError as error:
        fix = "git log --oneline and dvc exp list name those that there are"
        raise UserError(Problem("revision.unknown", repr(rev), "a commit, tag, branch or experiment", str(error), fix)) from None
    except GitError as error:
        fix = f"if it is somebody else's, run git config --global --add safe.directory {shlex.quote(str(Path.cwd()))}"
        raise UserError(Problem("revision.unreadable", rev, "a repository that git reads", str(error), fix)) from None
    except DvcException as error:
        fix = "run it in the repository's root, with a revision whose dvc.yaml and dvc.lock DVC can read"
        raise UserError(Problem("revision.unreadable", rev, "a revision of this project", str(error), fix)) from None


def _found(repo: Any, rev: str, outs: Sequence[Path], read: Callable[[Path, Any], Found]) -> dict[Path, Found]:
    """What `read` finds in each out that has a content in the revision."""
    from dvc.exceptions import OutputNotFoundError

    written = {}
    for out in outs:
        with suppress(OutputNotFoundError):
            (found,) = repo.find_outs_by_path(str(out))
            if found.hash_info:
                written[out] = found
    return dict(zip(written, all_of(f"{rev} cannot be read", *(partial(read, *each) for each in written.items())), strict=True))


def _folder(rev: str, path: Path, out: Any) -> StoredFolder | None:
    """None if the cache does not have the list of its files."""
    if not (listing := Path(out.cache_path)).is_file():
        return None
    from dvc.dependency import ParamsDependency

    try:
        objects = {name: Path(out.cache.oid_to_path(md5)) for name, md5 in listed_hashes(out).items()}
    except ValueError:
        fix = f"remove this file, and {_fetch(rev, [path])}"
        raise UserError(Problem("revision.folder", str(listing), f"the list of files in {path}", "another file", fix)) from None
    entry = {name: value for name, value in out.dumpd().items() if name != "path"}
    listed = [dependency.hash_info.value or {} for dependency in out.stage.deps if isinstance(dependency, ParamsDependency)]
    return StoredFolder(rev, path, entry, objects, {name: value for values in listed for name, value in values.items()})


def _require_all(rev: str, outs: Sequence[Path], cached: Mapping[Path, bool]) -> None:
    """cached: of the outs that the revision has, whether the cache has them."""
    problems = []
    for out in outs:
        place = f"{rev}: {out}"
        if out not in cached:
            fix = "choose a revision in which dvc repro or dvc exp run ended, and dvc.lock and the pins in members were committed"
            problems.append(Problem("revision.no_result", place, "a result that dvc.lock or a .dvc file names", "none", fix))
        elif not cached[out]:
            problems.append(Problem("revision.not_cached", place, "all of it in DVC's cache", "not all", _fetch(rev, outs)))
    raise_if_any(problems, f"{rev} cannot be read")


def _fetch(rev: str, outs: Sequence[Path]) -> str:
    return f"run dvc fetch --all-commits {' '.join(map(str, outs))}; for somebody's experiment, dvc exp pull REMOTE {rev}"
