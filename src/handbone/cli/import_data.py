"""`handbone import FORMAT SOURCE -o ROOT`: other tools' annotations and pictures -> a data set in the project's layout."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from handbone.cli.params_yaml import yaml_text
from handbone.cli.preset import preset_params
from handbone.config.yaml12 import read_yaml
from handbone.dataset.files import is_text
from handbone.formats.images import SUFFIXES, list_files
from handbone.formats.labels import LabelledImage, Labels, ReadOptions
from handbone.formats.people import person_rule
from handbone.formats.registry import READERS
from handbone.formats.source import existing
from handbone.formats.write import WriteOptions, Written, write_data_set
from handbone.utils.errors import Problem, UserError, all_of, nearest, raise_if_any, warn
from handbone.utils.io import write_text

USED_BY = {
    "values": ("png",),
    "columns": ("csv",),
    "order": ("csv",),
    "base": ("csv",),
    "label": ("csv",),
    "wide": ("csv",),
    "as_masks": ("coco", "labelme"),
}
"""Options of single formats."""


def import_data(presets: Path = Path("presets"), **arguments: Any) -> None:
    """Write the data set, print what is in it and its classes for params.yaml, or write them as a preset. arguments: as app.py names them.

    Raises `UserError` with every fault of the options, then with those of the sources, then with those of all images; then nothing is
    written.
    """
    chosen = argparse.Namespace(**arguments)
    person, like, _ = all_of(
        "", partial(person_rule, chosen.person_from), partial(_changes, chosen.like, presets), partial(_check_options, chosen, presets)
    )
    by_column, first = chosen.order != "row", int(chosen.base or 1)
    values, columns = _values(chosen.values), _pairs("--columns", chosen.columns)
    options = ReadOptions(chosen.images, values, columns, by_column, first, chosen.label, chosen.wide or (), bool(chosen.as_masks))
    train, test = all_of("", partial(READERS[chosen.format], chosen.source, options), partial(_test, chosen, options))
    classes = chosen.classes or train.classes
    _check_classes(classes, [*train.classes, *test.classes])
    truth = chosen.test_labels is not None
    target = WriteOptions(classes, person, chosen.names == "path", chosen.window)
    train_images, test_images = _without(chosen.exclude or (), train.images, test.images)
    written = write_data_set(chosen.out, train_images, test_images, truth, target)
    _report(chosen, written, [*train.notes, *test.notes])
    incomplete = any(subset.incomplete for subset in written[: 1 + truth])
    data = {"root": chosen.out.as_posix(), "classes": list(classes), "allow_missing": incomplete}
    _announce(data, presets / f"{chosen.preset}.yaml" if chosen.preset else None, like)


def _changes(name: str | None, presets: Path) -> dict[str, Any]:
    """What a preset changes; nothing without a name."""
    if name is None:
        return {}
    preset_params(name, presets)  # raises for a preset that there is not, or that is wrong
    return dict(read_yaml(presets / f"{name}.yaml") or {})


def _test(chosen: argparse.Namespace, options: ReadOptions) -> Labels:
    """The test images: those with labels if there are any, else all pictures of the folder."""
    options = replace(options, pictures=chosen.test)
    if chosen.test_labels is not None:
        return READERS[chosen.format](chosen.test_labels, options)
    if chosen.test is None:
        return Labels([], [])
    folder = existing(chosen.test, folder=True)
    files = list_files(folder, SUFFIXES)
    return Labels([LabelledImage(file.relative_to(folder).as_posix(), str(file), file) for file in files], [])


def _check_options(chosen: argparse.Namespace, presets: Path) -> None:
    """Raise `UserError` with every option that cannot be used."""
    problems = [
        Problem(
            "import.option",
            f"--{name.replace('_', '-')}",
            f"an option of {' and '.join(formats)}",
            f"import {chosen.format}",
            "leave it out",
        )
        for name, formats in USED_BY.items()
        if getattr(chosen, name) is not None and chosen.format not in formats
    ]
    if chosen.window and chosen.window[0] >= chosen.window[1]:
        found = "{:g} and {:g}".format(*chosen.window)
        problems.append(Problem("import.option", "--window", "the value of black and a higher one of white", found, "correct it"))
    if chosen.preset is not None:
        problems += _preset_problems(chosen.preset, presets)
    elif chosen.like is not None:
        problems.append(Problem("import.option", "--like", "an option of --preset", "no --preset", "add --preset NAME"))
    raise_if_any(problems, "")
    all_of("", partial(_values, chosen.values), partial(_pairs, "--columns", chosen.columns))


def _preset_problems(name: str, presets: Path) -> list[Problem]:
    """What is wrong with the name of a preset to write."""
    if Path(name).name != name or name.startswith("."):
        return [Problem("import.preset", "--preset", "a name without folders", repr(name[:60]), "give another name")]
    path = presets / f"{name}.yaml"
    return [Problem("import.preset", str(path), "no such preset yet", "a file", "give another name")] if path.exists() else []


def _pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """`a=b` texts as a mapping."""
    bad = [text for text in texts or () if not all(text.partition("="))]
    raise_if_any([Problem("import.option", option, "pairs as KEY=NAME,KEY=NAME", repr(text[:40]), "correct it") for text in bad], "")
    return dict(text.split("=", 1) for text in texts or ())


def _values(texts: Sequence[str] | None) -> dict[int, str]:
    pairs = _pairs("--values", texts)
    bad = [key for key in pairs if not (key.isascii() and key.isdecimal() and 0 < int(key) < 2**16)]
    expected = "values from 1 to 65535 (0 is the background)"
    raise_if_any([Problem("import.option", "--values", expected, repr(key[:20]), "correct it") for key in bad], "")
    return {int(key): name for key, name in pairs.items()}


def _check_classes(classes: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in classes if name not in known]
    bad = [name for name in classes if not (name.strip() and is_text(name))]
    problems = [Problem("import.class", "--classes", "labels of the source", name, nearest(name, known)) for name in unknown]
    text = "labels that are a text without control characters"
    problems += [Problem("import.class", "the source", text, repr(name[:60]), "rename the label, or use --classes") for name in bad]
    raise_if_any(problems, "")
    if not classes:
        raise UserError(Problem("import.class", "the source", "at least one annotation", "none", "check the path"))


def _without(names: Sequence[str], *subsets: Sequence[LabelledImage]) -> list[list[LabelledImage]]:
    """Each subset without the images of these names. Raises `UserError` with every name that no image has."""
    known = {image.name for images in subsets for image in images}
    unknown = [name for name in names if name not in known]
    expected, fix = "the name of an image in the source", "correct the name; it may need its folder and suffix"
    raise_if_any([Problem("import.exclude", "--exclude", expected, name[:60], fix) for name in unknown], "")
    return [[image for image in images if image.name not in names] for images in subsets]


def _report(chosen: argparse.Namespace, written: Sequence[Written], notes: Sequence[str]) -> None:
    for name, subset in zip(("training", "test"), written, strict=True):
        shapes = f"; {subset.polygons} polygons as they are, {subset.masks} masks to the pixel" if subset.polygons + subset.masks else ""
        print(f"{chosen.out}: {subset.images} {name} images of {subset.people} people{shapes}")
        if subset.left_out:
            print(f"left out: {', '.join(f'{count} {label}' for label, count in sorted(subset.left_out.items()))}")
    for note in dict.fromkeys(notes):
        print(note)
    if chosen.person_from is None:
        fix = "if a person has several images, use --person-from, or scores will be too high"
        warn(Problem("import.people", str(chosen.out), "--person-from", "every image counts as its own person", fix))
    if not written[1].images:
        found, fix = "none, so the only scores will be those of held-out people", "add it if there are images to predict"
        warn(Problem("import.test", str(chosen.out), "--test FOLDER", found, fix))


def _announce(data: Mapping[str, object], preset: Path | None, like: Mapping[str, Any]) -> None:
    """Print the section `data` for params.yaml, or write it as a preset, with the changes of another one."""
    text = yaml_text({**like, "data": {**(like.get("data") or {}), **data}})
    if preset is None:
        print(f"for params.yaml:\n{text}", end="")
        return
    try:
        write_text(preset, f"# The data set {data['root']}.\n\n{text}")
    except UserError:
        print(f"the data set is written; for params.yaml:\n{text}", end="")
        raise
    print(f"{preset}: written; handbone preset {shlex.quote(preset.stem)} makes it params.yaml")
