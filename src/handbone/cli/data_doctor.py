"""`handbone doctor DATA`: which labels of a data set do not fit the anatomy of the rest, and which images are there twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from handbone.cli.document import print_document, problem_document
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.dataset.labels import require_known_label
from handbone.dataset.layout import find_samples
from handbone.dataset.preprocess import read_image
from handbone.doctor.labels.anatomy import MIN_CLASSES, MIN_IMAGES
from handbone.doctor.labels.duplicates import duplicates, shared_people
from handbone.doctor.labels.examine import Examined, examine_labels
from handbone.doctor.labels.expected import expected_outlines
from handbone.doctor.labels.finding import KINDS, Finding, list_lines, ranked
from handbone.doctor.labels.gallery import Picture, render_card, render_gallery
from handbone.doctor.labels.held_out import unlike_predictions
from handbone.doctor.labels.reading import Scan, read_scans
from handbone.evaluation.dice import COUNTS
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.errors import Problem, UserError, raise_if_any, warn
from handbone.utils.io import read_class_table, write_text

PICTURES = 60  # of the page: about 3 MB


def examine_data(root: Path, html: Path | None = None, as_json: bool = False) -> None:
    """Print the findings about the data set in `root`, the strangest first, and write them with pictures to `html`. as_json: as a document.

    Raises `UserError` for what `find_samples` and `require_known_label` do not accept, with every file that cannot be read, and if a
    finding is an error.
    """
    params = load_params()
    data = params.data
    samples = find_samples(root, data.exclude if root.resolve() == Path(data.root).resolve() else ())
    require_known_label(samples, data.classes)
    scans = read_scans(samples, data.classes, params.preprocess.max_pixels, params.machine.preprocess_workers)
    examined = examine_labels([scan.drawing for scan in scans if scan.drawing is not None], data.allow_missing)
    found = [*examined.findings, *_same_pictures(scans), *shared_people(samples)]
    findings = ranked([*found, *_unlike_predictions(scans, found, data.classes)])
    problems = [problem for scan in scans for problem in scan.problems]
    if as_json:
        found_by_rank = [_finding_document(finding, data.classes) for finding in findings]
        print_document({"path": str(root), "errors": [*map(problem_document, problems)], "findings": found_by_rank})
    else:
        _print(root, findings, scans, examined, data.classes)
    if html is not None:
        _write_gallery(html, root, findings, scans, examined, params)
    errors = {finding.key for finding in findings if finding.certain}
    if errors:
        expected, fix = "labels as the other images have them, and each picture once", "look at them (--html), correct or exclude them"
        problems.append(Problem("labels.faults", str(root), expected, f"errors in {len(errors)} image{'s' * (len(errors) > 1)}", fix))
    raise_if_any(problems, f"{root} has faults")


def _finding_document(finding: Finding, classes: Sequence[str]) -> dict[str, Any]:
    named = {"classes": [classes[number] for number in finding.classes], "certain": finding.certain}
    return asdict(finding) | named


def _same_pictures(scans: Sequence[Scan]) -> list[Finding]:
    seen = [(scan.sample, scan.thumbnail) for scan in scans if scan.thumbnail is not None]
    return list(duplicates([sample for sample, _ in seen], [thumbnail for _, thumbnail in seen]))


def _unlike_predictions(scans: Sequence[Scan], found: Sequence[Finding], classes: Sequence[str]) -> Iterator[Finding]:
    """Findings of the trained models, if there are any and they are of this data set."""
    drawings = [scan.drawing for scan in scans if scan.drawing is not None]
    if not paths.VALIDATION_COUNTS.is_file():
        return
    try:
        counts = read_class_table(paths.VALIDATION_COUNTS, COUNTS)
        if set(counts["class"]) == set(classes) and set(counts["key"]) <= {drawing.key for drawing in drawings}:
            named = {(finding.key, c) for finding in found for c in finding.classes}
            predicted = partial(_predicted, classes=len(classes))
            yield from unlike_predictions(counts, drawings, classes, named, predicted)
    except UserError as error:
        warn(*error.problems)  # the labels are examined without them


def _predicted(key: str, classes: int) -> CroppedMaps:
    path = paths.prediction("oof", key)
    maps = CroppedMaps.load(path)
    if len(maps.boxes) != classes:
        raise UserError(Problem("predictions.shape", str(path), f"{classes} maps", str(len(maps.boxes)), "run dvc repro"))
    return maps


def _print(root: Path, findings: Sequence[Finding], scans: Sequence[Scan], examined: Examined, classes: Sequence[str]) -> None:
    if examined.anatomy is None:
        expected, found = f"{MIN_IMAGES} images that show {MIN_CLASSES} classes or more", "fewer, so nothing is said about labels"
        warn(Problem("labels.few", str(root), expected, found, "if the data set has so many classes, add images"))
    readable = sum(not scan.problems for scan in scans)
    if not findings:
        print(f"{root}: nothing found in {readable} images" + ("" if readable == len(scans) else f", {len(scans) - readable} not read"))
        return
    print(f"{root}: {len(findings)} findings in {len({finding.key for finding in findings})} of {len(scans)} images")
    print("\n".join(list_lines(findings, classes)))
    print("\nTo leave these out, copy what is right into section data of params.yaml:\nexclude:")
    kinds = {finding.key: KINDS[finding.kind] for finding in reversed(findings)}
    print(
        "\n".join(f"- {json.dumps(key, ensure_ascii=False)}  # {kinds[key]}" for key in dict.fromkeys(finding.key for finding in findings))
    )


def _write_gallery(html: Path, root: Path, findings: Sequence[Finding], scans: Sequence[Scan], examined: Examined, params: Params) -> None:
    of_name = {(scan.sample.subset, scan.sample.key): scan for scan in scans}
    cards = []
    for rank, finding in enumerate(findings[:PICTURES], 1):
        names = [(finding.subset, finding.key), *([finding.twin] if finding.twin else [])]
        pictures = [_picture(of_name[name], finding, examined, params) for name in names if name in of_name]
        cards.append(render_card(rank, finding, params.data.classes, pictures))
    write_text(html, render_gallery(f"{root}: {len(findings)} findings", cards, max(0, len(findings) - PICTURES)))


def _picture(scan: Scan, finding: Finding, examined: Examined, params: Params) -> Picture:
    image = read_image(scan.sample.image, params.model.in_channels, params.preprocess.max_pixels)
    polygons = [] if scan.drawing is None else scan.drawing.polygons
    return Picture(image, polygons, expected_outlines(examined, finding))
