"""What a commit has to make its results again: do code and parameters match its dvc.lock, and where are the files?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handbone.provenance.revisions import listed_hashes


@dataclass(frozen=True)
class Stored:
    """What a commit has. Paths are those of outs, relative to the repository.

    changed: stages whose code, parameters or command differ from dvc.lock, each with what differs.
    outside: what stages read and neither git nor DVC has, so that it must be on the machine.
    local: outs that are complete in DVC's cache; remote: others that are in the remote; lost: the rest; sources: those of `lost` that no
    stage can make again. problem: why the revision (if it is not `readable`) or its remote could not be asked.
    """

    changed: dict[str, list[str]] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    local: list[str] = field(default_factory=list)
    remote: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    remote_name: str | None = None
    problem: str | None = None
    readable: bool = True


def stored_at(rev: str) -> Stored:
    """Ask DVC about a revision of the repository in the working directory; nothing is checked out or fetched."""
    from dvc.exceptions import DvcException  # takes most of a second to import
    from dvc.repo import Repo
    from scmrepo.exceptions import SCMError

    try:
        with Repo(rev=rev) as repo:
            return _stored(repo)
    except (DvcException, SCMError, OSError, ValueError) as error:
        return Stored(problem=f"DVC cannot read the commit: {_line(error)}", readable=False)


def _stored(repo: Any) -> Stored:
    outs = {out.fs_path: out for out in repo.index.outs if out.use_cache}
    changed, outside = dict[str, list[str]](), dict[str, None]()
    for stage in repo.index.stages:
        if differences := _differences(stage, outs):
            changed[stage.addressing.split(":")[-1]] = differences
        outside |= dict.fromkeys(str(dependency) for dependency in stage.deps if _is_outside(dependency, outs))
    missing = {path: oids for path, out in outs.items() if (oids := _missing(out))}
    name, held, problem = _remote(repo, missing)
    lost = [path for path in missing if path not in held]
    sources = [path for path in lost if outs[path].stage.is_data_source]
    local = [path for path in outs if path not in missing]
    return Stored(changed, list(outside), _names(local), _names(held), _names(lost), _names(sources), name, problem)


def _names(paths: Iterable[str]) -> list[str]:
    return [path.lstrip("/") for path in paths]  # DVC's tree of a commit begins at /


def _differences(stage: Any, outs: Mapping[str, Any]) -> list[str]:
    """What of a stage differs from its entry in dvc.lock."""
    differences = ["its command"] if getattr(stage, "cmd_changed", False) else []
    for dependency in stage.deps:
        differences += _difference(dependency, outs)
    if not stage.is_data_source and any(out.hash_info.value is None for out in stage.outs):
        differences.append("no result in dvc.lock")
    return differences


def _difference(dependency: Any, outs: Mapping[str, Any]) -> list[str]:
    from dvc.dependency.param import ParamsDependency

    path = dependency.fs_path
    if isinstance(dependency, ParamsDependency):
        found = dependency.workspace_status().get(str(dependency), {})
        return [f"{dependency}: {name}" for name in found] if isinstance(found, dict) else [f"{dependency}: {found}"]
    if path in outs:
        same = dependency.hash_info == outs[path].hash_info
    elif _of_outs(path, outs) or not dependency.exists:
        same = True  # part of an out, several outs, or not in git: no single hash to compare with
    else:
        same = not dependency.workspace_status() or _without_ignored(dependency) == dependency.hash_info
    return [] if same else [str(dependency)]


def _without_ignored(dependency: Any) -> Any:
    """The hash of a folder without the files of .dvcignore, which DVC counts in the tree of a commit and not in the working tree."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree: Any = Tree()  # type: ignore[no-untyped-call]
    fs = dependency.fs
    for file in dependency.repo.dvcignore.find(fs, dependency.fs_path):
        digest = hashlib.md5(fs.cat_file(file), usedforsecurity=False).hexdigest()
        tree.add(fs.relparts(file, dependency.fs_path), None, HashInfo(dependency.hash_name, digest))
    tree.digest()
    return tree.hash_info


def _of_outs(path: str, outs: Iterable[str]) -> bool:
    """Whether a path is an out, inside of one, or a folder with outs."""
    return any(path == out or path.startswith(f"{out}/") or out.startswith(f"{path}/") for out in outs)


def _is_outside(dependency: Any, outs: Iterable[str]) -> bool:
    return not _of_outs(dependency.fs_path, outs) and not dependency.exists


def _missing(out: Any) -> list[str]:
    """The objects of an out that DVC's cache lacks; the contents of a folder are unknown if its list is missing."""
    if not (digest := out.hash_info.value):
        return []
    listing = Path(out.cache.oid_to_path(digest))
    if not listing.is_file():
        return [digest]
    contents: list[str] = []
    if out.hash_info.isdir:
        with suppress(ValueError):  # a damaged list is not this command's question
            contents = list(listed_hashes(out).values())
    return [oid for oid in contents if not Path(out.cache.oid_to_path(oid)).is_file()]


def _remote(repo: Any, missing: Mapping[str, list[str]]) -> tuple[str | None, list[str], str | None]:
    """The name of the default remote, the outs whose missing objects it has, and why it could not be asked."""
    name = repo.config["core"].get("remote")
    if not missing or name is None:
        return name, [], None
    try:
        remote = repo.cloud.get_remote_odb(name)
        there = set(remote.oids_exist(sorted({oid for oids in missing.values() for oid in oids})))
    except Exception as error:  # each kind of storage has its own errors
        return name, [], f"the remote {name} cannot be asked: {_line(error)}"
    return name, [path for path, oids in missing.items() if there.issuperset(oids)], None


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
