"""`handbone members add|list|remove`: experiments whose stored predictions git pins under a name, for `decide.members`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from handbone.cli.params_yaml import yaml_text
from handbone.config import paths
from handbone.config.params import CURRENT, MEMBER_NAME
from handbone.evaluation.members import Pin, read_pin
from handbone.evaluation.predictions import read_record
from handbone.provenance.revisions import StoredFolder, stored_folders
from handbone.utils.errors import Problem, UserError, all_of, nearest
from handbone.utils.hashing import file_hash
from handbone.utils.io import remove_folder, write_text

SUBSETS = ("oof", "test")
HEADER = "# Written by `handbone members add`: the predictions of an experiment, for decide.members in params.yaml."


def add_member(rev: str, name: str) -> None:
    """Pin the predictions of a revision as members/<name>.dvc, and check them out.

    They are the same objects in DVC's cache and remotes as the revision's: nothing is copied or computed.
    Raises `UserError` for a name that no member can have or that another experiment has, and for what `stored_folders` does not accept.
    """
    _check_folder()
    _check_name(name)
    path = paths.pin(name)
    commit, folders = stored_folders(rev, [paths.predictions(subset) for subset in SUBSETS], complete=True)
    stored = dict(zip(SUBSETS, folders, strict=True))
    pin = _describe(commit, stored)
    if path.is_file() and (other := read_pin(path)).records != pin.records:
        fix = f"choose another name, or first run handbone members remove {name}"
        raise UserError(Problem("members.exists", str(path), "no other experiment of this name", other.revision, fix))
    write_text(path, _pin_text(name, stored, pin))
    _check_out(path)
    images = " and ".join(f"{len(folder.objects) - 1} images in {paths.predictions(subset, name)}" for subset, folder in stored.items())
    print(f"{_line(name, pin)}\n{images}")
    print(f"Next: its weight in params.yaml (decide.members), git add {path}, and dvc push for others")


def list_members() -> None:
    """Print each member with what it is, and whether its predictions are checked out. Raises `UserError` with each pin that is none."""
    _check_folder()
    found = sorted(paths.PINS.glob("*.dvc"))
    for path, pin in zip(found, all_of("members/ cannot be listed", *((lambda path=path: read_pin(path)) for path in found)), strict=True):
        here = all(paths.prediction_record(subset, path.stem).is_file() for subset in SUBSETS)
        print(_line(path.stem, pin) + ("" if here else f" (not checked out: dvc pull {path})"))
    if not found:
        print("no members: handbone members add REV --as NAME pins one")


def remove_member(name: str) -> None:
    """Remove the pin and the predictions that it checked out; DVC's cache keeps them until dvc gc.

    Raises `UserError` if there is no such member.
    """
    _check_folder()
    _check_name(name)
    path = paths.pin(name)
    if not path.is_file():
        known = sorted(other.stem for other in paths.PINS.glob("*.dvc"))
        fix = nearest(name, known) if known else "there are none to remove"
        raise UserError(Problem("members.unknown", name, f"a member, which has a file {path}", "none", fix))
    path.unlink()
    remove_folder(paths.MEMBERS / name)
    print(f"removed {path} and {paths.MEMBERS / name}")


def _check_folder() -> None:
    """Raise `UserError` outside of the repository's root, where pins would have no effect."""
    if not Path(".dvc").is_dir():
        here, fix = Path.cwd(), "run it in the repository's root"
        raise UserError(Problem("members.folder", str(here), "the root of a repository with DVC", "no folder .dvc", fix))


def _check_name(name: str) -> None:
    if not re.fullmatch(MEMBER_NAME, name) or name == CURRENT:
        expected = f"a letter, then letters, digits, _ and -, and not {CURRENT}, which is the run of the working tree"
        raise UserError(Problem("members.name", name, expected, repr(name), "choose another name"))


def _describe(commit: str, stored: Mapping[str, StoredFolder]) -> Pin:
    """What the experiment was, by the record of its predictions and the parameters with which they were computed."""
    files = {subset: folder.file(paths.prediction_record(subset)) for subset, folder in stored.items()}
    model = next(iter(read_record(files["oof"], "choose a revision of this version of the code")["models"].values()))
    window = stored["oof"].params.get("infer", {}).get("window_size")
    records = {subset: file_hash(file) for subset, file in files.items()}
    return Pin(stored["oof"].rev, commit, model["spec"]["arch"], model["spec"].get("encoder"), model["size"], window, records)


def _pin_text(name: str, stored: Mapping[str, StoredFolder], pin: Pin) -> str:
    outs = [folder.entry | {"path": str(paths.predictions(subset, name))} for subset, folder in stored.items()]
    return f"{HEADER}\n{yaml_text({'wdir': '..', 'outs': outs, 'meta': asdict(pin)})}"


def _check_out(path: Path) -> None:
    from dvc.repo import Repo

    with Repo() as repo:
        repo.checkout([str(path)], force=True)


def _line(name: str, pin: Pin) -> str:
    """One line that says what a member is."""
    network = " ".join(filter(None, [pin.arch, pin.encoder]))
    window = f", windows of {pin.window}" if pin.window else ""
    return f"{name}: {pin.revision} ({pin.commit[:10]}), {network}, {pin.size} px{window}"
