"""Thirty submissions with one fault each: the doctor finds it and names its row. The right one passes without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from stages.preprocess import main as preprocess

from conftest import Fails
from handbone.cli.doctor import examine_submission
from handbone.config import paths
from handbone.config.params import PhantomParams, SubmissionParams
from handbone.doctor.examine import WARNINGS, Expected, examine
from handbone.doctor.masks import Image, smaller_width
from handbone.doctor.repair import repair
from handbone.doctor.runs import examine_runs
from handbone.doctor.training import read_training
from handbone.masks.boxed import BoxedMasks
from handbone.masks.rle import decode_runs, encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.phantom.dataset import write_phantom
from handbone.submission.csv import encode_masks, image_rows, write_submission
from handbone.submission.csv import test_images as read_images
from handbone.submission.score import true_masks
from handbone.utils.errors import UserError
from handbone.utils.io import read_table, write_table
from imports import ROOT

SIZE, C = 192, 29
Lines = list[list[str]]  # of the file, from line 1, each of three fields
Masks = Callable[[BoxedMasks], RunLengthMasks]
SAMPLE = 2  # of the test images, which begin in line SAMPLE * C + 2


class Case:
    """A project with cached phantoms, and its right submission."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["machine"]["preprocess_workers"] = 2
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        self.phantom = PhantomParams(size=SIZE, train_people=10, test_people=6, bent_train=0.2, bent_test=0.5, seed=3)
        write_phantom(self.phantom, Path(params["data"]["root"]), 2)
        preprocess()
        classes = params["data"]["classes"]
        training = read_training(paths.TRAIN_INDEX, paths.AREAS, partial(paths.cached_sample, "train"), classes)
        self.expected = Expected(read_images(paths.TEST_INDEX), classes, training)
        self.truth = list(true_masks(Path(params["data"]["root"]), self.expected.images, classes, False).values())
        self.right = folder / "right.csv"
        self.write(lambda masks: RunLengthMasks.from_boxed(masks), self.right)

    def write(self, change: Masks, path: Path, only: int | None = None) -> None:
        """The true masks, changed in all images or in one."""
        rows = []
        for number, ((name, _, _), masks) in enumerate(zip(self.expected.images.values(), self.truth, strict=True)):
            changed = change(masks.boxed()) if only in (None, number) else masks
            rows += image_rows(name, self.expected.classes, encode_runs(changed))
        write_submission(path, rows)

    def lines(self) -> Lines:
        return [line.split(",") for line in self.right.read_text().splitlines()]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return Case(folder)


def text(lines: Lines) -> bytes:
    return "".join(",".join(fields) + "\n" for fields in lines).encode()


def setter(line: int, column: int, change: Callable[[str], str]) -> Callable[[Lines], bytes]:
    """Change one field."""

    def broken(lines: Lines) -> bytes:
        lines[line - 1][column] = change(lines[line - 1][column])
        return text(lines)

    return broken


def numbers(field: str) -> list[int]:
    return list(map(int, field.split()))


def joined(values: list[int]) -> str:
    return " ".join(map(str, values))


def swapped(one: int, other: int) -> Callable[[Lines], bytes]:
    def broken(lines: Lines) -> bytes:
        lines[one - 1], lines[other - 1] = lines[other - 1], lines[one - 1]
        return text(lines)

    return broken


def header(*names: str) -> Callable[[Lines], bytes]:
    return lambda lines: text([list(names), *lines[1:]])


def unsorted(field: str) -> str:
    values = numbers(field)
    return joined(values[2:4] + values[:2] + values[4:])


def overlapping(field: str) -> str:
    start, length, *rest = numbers(field)
    return joined([start, length, start + length - 1, 2, *rest]) if rest[0] > start + length + 1 else "1 3 2 4"


def touching(field: str) -> str:
    values = numbers(field)
    at = next(at for at in range(0, len(values), 2) if values[at + 1] > 1)
    start, length = values[at : at + 2]
    return joined([*values[:at], start, 1, start + 1, length - 1, *values[at + 2 :]])


def in_dense(change: Callable[[np.ndarray], np.ndarray]) -> Masks:
    return lambda masks: RunLengthMasks.from_boxed(BoxedMasks.from_dense(np.ascontiguousarray(change(masks.dense()))))


def one_class(index: int, change: Callable[[np.ndarray], np.ndarray]) -> Masks:
    def changed(dense: np.ndarray) -> np.ndarray:
        dense[index] = change(dense[index])
        return dense

    return in_dense(changed)


def speckled(mask: np.ndarray) -> np.ndarray:
    mask[2:60:3, 2] = True
    return mask


ROWS = [  # name, the broken file, code, line or another place
    ("names of the header in capitals", header("Image_Name", "class", "rle"), "doctor.header", 1),
    ("other names", header("image", "class", "rle"), "doctor.columns", 1),
    ("no header", lambda lines: text(lines[1:]), "doctor.header", 1),
    ("index column", lambda lines: text([["", *lines[0]], *([str(n), *row] for n, row in enumerate(lines[1:]))]), "doctor.header", 1),
    ("byte order mark", lambda lines: b"\xef\xbb\xbf" + text(lines), "doctor.bom", 1),
    ("line ends of Windows", lambda lines: text(lines).replace(b"\n", b"\r\n"), "doctor.line_ends", 1),
    ("cut off", lambda lines: text(lines)[:-1], "csv.cut_off", 12 * C + 1),
    ("no UTF-8", lambda lines: text(lines).replace(b"finger-2", b"finger-\xff", 1), "csv.encoding", 3),
    ("a comma too many", setter(5, 2, lambda field: field + ","), "csv.fields", 5),
    ("an open quotation mark", setter(6, 1, lambda field: '"' + field), "csv.quotes", 6),
    ("missing row", lambda lines: text(lines[:9] + lines[10:]), "doctor.missing_row", "finger-9"),
    ("missing image", lambda lines: text(lines[: 11 * C + 1]), "doctor.missing_row", "(all classes)"),
    ("missing class", lambda lines: text([row for row in lines if row[1] != "Ulna"]), "doctor.missing_row", "Ulna (all images)"),
    ("repeated row", lambda lines: text([*lines, lines[7]]), "doctor.repeated_row", 12 * C + 2),
    ("unknown image", lambda lines: text([*lines, ["none.png", "Ulna", ""]]), "doctor.unknown_image", 12 * C + 2),
    ("unknown class", lambda lines: text([*lines, [lines[1][0], "Femur", ""]]), "doctor.unknown_class", 12 * C + 2),
    ("classes in another order", swapped(4, 5), "doctor.class_order", 5),
    ("images in another order", lambda lines: text([lines[0], *lines[C + 1 :], *lines[1 : C + 1]]), "doctor.image_order", 11 * C + 2),
    ("words in the runs", setter(3, 2, lambda field: "nan"), "doctor.not_numbers", 3),
    ("numbers with decimals", setter(3, 2, lambda field: field + ".0"), "doctor.not_numbers", 3),
    ("odd count", setter(4, 2, lambda field: field + " 30000"), "doctor.odd", 4),
    ("start of 0", setter(5, 2, lambda field: "0 1 " + field), "doctor.start", 5),
    ("length of 0", setter(6, 2, lambda field: field + " 36000 0"), "doctor.length", 6),
    ("negative length", setter(6, 2, lambda field: field + " 36000 -3"), "doctor.length", 6),
    ("beyond the image", setter(7, 2, lambda field: f"{field} {SIZE * SIZE} 2"), "doctor.range", 7),
    ("unsorted runs", setter(8, 2, unsorted), "doctor.unsorted", 8),
    ("overlapping runs", setter(9, 2, overlapping), "doctor.overlap", 9),
    ("runs that could be one", setter(10, 2, touching), "doctor.touching", 10),
    ("empty mask", setter(11, 2, lambda field: ""), "doctor.empty", "finger-10"),
]
MASKS = [  # name, change of the masks, of which image (None: all), code, line
    ("column by column", in_dense(lambda dense: dense.transpose(0, 2, 1)), None, "doctor.column_major", 2),
    ("column by column in one image", in_dense(lambda dense: dense.transpose(0, 2, 1)), SAMPLE, "doctor.column_major", SAMPLE * C + 2),
    ("mirrored", in_dense(lambda dense: dense[:, :, ::-1]), None, "doctor.mirrored", 2),
    ("one image mirrored", in_dense(lambda dense: dense[:, :, ::-1]), SAMPLE, "doctor.side", SAMPLE * C + 2),
    ("one class mirrored", one_class(0, lambda mask: mask[:, ::-1].copy()), SAMPLE, "doctor.side", SAMPLE * C + 2),
    ("half the size", in_dense(lambda dense: dense[:, ::2, ::2]), None, "doctor.image_size", 2),
    ("too large a mask", one_class(3, lambda mask: np.pad(np.ones((80, 80), bool), 56)), SAMPLE, "doctor.area", SAMPLE * C + 5),
    ("specks", one_class(27, speckled), SAMPLE, "doctor.pieces", SAMPLE * C + 29),
]


def found_in(path: Path, expected: Expected) -> list[tuple[str, str]]:
    errors, warnings = examine(path, expected)
    assert all(problem.code not in WARNINGS for problem in errors) and all(problem.code in WARNINGS for problem in warnings)
    return [(problem.code, problem.place) for problem in errors + warnings]


def names(place: str, where: int | str) -> bool:
    return f"line {where}" in (place, *(part.split(" (")[0] for part in place.split(": "))) if isinstance(where, int) else where in place


@pytest.mark.parametrize("people", range(3))
def test_nothing_is_found_in_true_masks(case: Case, people: int, tmp_path: Path) -> None:
    """Neither in these nor in those of other people, most of them with bent wrists."""
    assert examine(case.right, case.expected) == ([], [])
    other = case.phantom.model_copy(update={"seed": 20 + people, "bent_test": 1.0, "train_people": 1})
    write_phantom(other, tmp_path, 2)
    keys = sorted(path.relative_to(tmp_path / "test/DCM").with_suffix("").as_posix() for path in (tmp_path / "test/DCM").rglob("*.png"))
    images = {key: (f"{key.split('/')[1]}.png", SIZE, SIZE) for key in keys}
    masks = true_masks(tmp_path, images, case.expected.classes, False)
    rows = [row for key in keys for row in image_rows(images[key][0], case.expected.classes, encode_runs(masks[key]))]
    write_submission(tmp_path / "s.csv", rows)
    assert examine(tmp_path / "s.csv", Expected(images, case.expected.classes, case.expected.training)) == ([], [])


@pytest.mark.parametrize(("broken", "code", "where"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_fault_of_a_row_is_found(case: Case, tmp_path: Path, broken: Callable[[Lines], bytes], code: str, where: int | str) -> None:
    (tmp_path / "s.csv").write_bytes(broken(case.lines()))
    found = found_in(tmp_path / "s.csv", case.expected)
    assert [place for kind, place in found if kind == code and names(place, where)], found
    followers = {
        "csv.encoding": {"doctor.unknown_class", "doctor.missing_row"},
        "csv.quotes": {"csv.fields", "doctor.missing_row", "doctor.unknown_class"},
    }
    assert {kind for kind, _ in found} <= {code} | followers.get(code, set())


@pytest.mark.parametrize(("change", "only", "code", "line"), [row[1:] for row in MASKS], ids=[row[0] for row in MASKS])
def test_masks_that_were_meant_in_another_way_are_found(
    case: Case, tmp_path: Path, change: Masks, only: int | None, code: str, line: int
) -> None:
    case.write(change, tmp_path / "s.csv", only)
    found = found_in(tmp_path / "s.csv", case.expected)
    assert {kind for kind, _ in found} == {code}, found
    assert names(found[0][1], line)
    assert len(found) == (len(case.truth) if only is None else 1)


def encoded_in(shape: tuple[int, int], mask: np.ndarray) -> Image:
    """The mask's runs as those of an image of that shape."""
    runs = RunLengthMasks.from_boxed(BoxedMasks.from_dense(np.ascontiguousarray(mask[None])))
    masks = RunLengthMasks(shape, runs.indptr, runs.intervals)
    return Image("A/a", 0, masks, masks, np.ones(1, bool))


def test_masks_in_two_pieces_side_by_side_are_not_those_of_a_smaller_image() -> None:
    """The steps between their runs are distances between the pieces: 450 pixels here, and 62 to the next row."""
    mask = np.zeros((512, 512), bool)
    mask[100:300, :20] = True
    assert smaller_width(encoded_in((512, 512), mask[::2, ::2])) == 256
    mask[100:300, 450:470] = True
    assert smaller_width(encoded_in((512, 512), mask)) == 0


REPAIRED = [
    *("names of the header in capitals", "no header", "index column", "byte order mark", "line ends of Windows"),
    *("images in another order", "classes in another order", "unsorted runs", "runs that could be one"),
]


@pytest.mark.parametrize("name", REPAIRED)
def test_what_needs_no_guess_is_repaired_to_the_right_bytes(case: Case, tmp_path: Path, name: str) -> None:
    content = next(row[1] for row in ROWS if row[0] == name)(case.lines())
    (tmp_path / "s.csv").write_bytes(content)
    assert repair(tmp_path / "s.csv", tmp_path / "out.csv", case.expected)
    assert (tmp_path / "out.csv").read_bytes() == case.right.read_bytes()
    assert (tmp_path / "s.csv").read_bytes() == content


def test_runs_that_overlap_become_their_union_and_other_rows_stay(case: Case, tmp_path: Path) -> None:
    lines = case.lines()
    lines[1][2], lines[2][2] = "5 3 6 4", "0 1"
    (tmp_path / "s.csv").write_bytes(text([*lines, ["none.png", "Ulna", "1 1"]]))
    repair(tmp_path / "s.csv", tmp_path / "out.csv", case.expected)
    repaired = (tmp_path / "out.csv").read_text().splitlines()
    assert [repaired[1].split(",")[2], repaired[2].split(",")[2], repaired[-1]] == ["5 5", "0 1", "none.png,Ulna,1 1"]


def test_a_cut_off_file_is_not_repaired(case: Case, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "s.csv").write_bytes(text(case.lines())[:-1])
    with fails("csv.cut_off", "s.csv"):
        repair(tmp_path / "s.csv", tmp_path / "out.csv", case.expected)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("link", [False, True])
def test_the_submission_is_never_overwritten(case: Case, tmp_path: Path, fails: Fails, link: bool) -> None:
    (tmp_path / "s.csv").write_bytes(content := b"\xef\xbb\xbf" + text(case.lines()))
    out = tmp_path / "s.csv"
    if link:
        (out := tmp_path / "link.csv").symlink_to(tmp_path / "s.csv")
    with fails("doctor.out", out.name):
        repair(tmp_path / "s.csv", out, case.expected)
    assert (tmp_path / "s.csv").read_bytes() == content


def test_all_kinds_of_faults_are_found_at_once(case: Case, tmp_path: Path) -> None:
    lines = case.lines()
    lines[0][0], lines[1][2], lines[2][2] = "IMAGE_NAME", "1 2 3", "9 2 5 2"
    (tmp_path / "s.csv").write_bytes(b"\xef\xbb\xbf" + text([*lines, lines[5], ["none.png", "Femur", ""], ["a"]])[:-1])
    wanted = {"header", "odd", "unsorted", "bom", "repeated_row", "unknown_image", "unknown_class"}
    assert {kind for kind, _ in found_in(tmp_path / "s.csv", case.expected)} >= {f"doctor.{kind}" for kind in wanted} | {
        "csv.fields",
        "csv.cut_off",
    }


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(-1, 14).map(str) | st.sampled_from(["", "x", "+3", "1.0", "3\t4"]), max_size=7).map(" ".join))
def test_an_encoding_has_an_error_exactly_if_the_reader_refuses_it(encoding: str) -> None:
    runs = examine_runs(encoding, 12)
    if all(f"doctor.{kind}" in WARNINGS for kind in runs.kinds):
        masks = decode_runs([encoding], 3, 4)
        assert runs.intervals is not None and masks.intervals.tolist() == runs.intervals.tolist()
    else:
        with pytest.raises(UserError):
            decode_runs([encoding], 3, 4)


def test_the_command_warns_fails_and_repairs(case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(case.folder)
    examine_submission(case.right)
    assert capsys.readouterr() == (f"{case.right}: nothing found\n", "")
    (case.folder / "s.csv").write_bytes(b"\xef\xbb\xbf" + text(case.lines()))
    examine_submission(Path("s.csv"))
    assert "WARNING: s.csv: line 1" in capsys.readouterr().err
    (case.folder / "s.csv").write_bytes(swapped(4, 5)(case.lines()))
    with pytest.raises(UserError) as error:
        examine_submission(Path("s.csv"))
    assert error.value.codes == {"doctor.class_order"}
    examine_submission(Path("s.csv"), Path("out.csv"))
    assert capsys.readouterr().out.endswith("out.csv: nothing found\n")


def test_a_path_to_nothing_is_an_error_about_the_path(case: Case, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.chdir(case.folder)
    with fails("doctor.missing", "nowhere.csv"):
        examine_submission(Path("nowhere.csv"))


def test_without_a_test_set_no_submission_is_ready(case: Case, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.chdir(case.folder)
    write_table(Path("none.csv"), read_table(paths.TEST_INDEX).head(0))
    monkeypatch.setattr(paths, "TEST_INDEX", Path("none.csv"))
    with fails("doctor.no_test_set"):
        examine_submission(case.right)


def test_the_document_has_errors_and_warnings(case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(case.folder)
    (case.folder / "s.csv").write_bytes(b"\xef\xbb\xbf" + swapped(4, 5)(case.lines()))
    with pytest.raises(UserError):
        examine_submission(Path("s.csv"), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert {problem["code"] for problem in document["errors"]} == {"doctor.class_order"}
    assert [problem["code"] for problem in document["warnings"]] == ["doctor.bom"]


def test_without_a_cache_the_images_of_the_data_set_count(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(case.folder)
    monkeypatch.setattr(paths, "TEST_INDEX", Path("none"))
    monkeypatch.setattr(paths, "AREAS", Path("none"))
    examine_submission(case.right)
    assert capsys.readouterr().out == f"{case.right}: nothing found\n"


FORM = SubmissionParams(columns=["ImageId", "organ", "EncodedPixels"], order="column", base=0, empty="-1")


def in_form(case: Case, encode: Callable[[RunLengthMasks], list[str]], path: Path) -> Expected:
    """Write the true masks in another competition's format -> what the doctor expects of it."""
    names = [name for name, _, _ in case.expected.images.values()]
    encoded = [encode(masks) for masks in case.truth]
    encoded[0][0] = ""
    rows = [row for name, texts in zip(names, encoded, strict=True) for row in image_rows(name, case.expected.classes, texts)]
    write_submission(path, rows, FORM)
    return replace(case.expected, form=FORM)


def test_a_right_submission_in_another_format_passes(case: Case, tmp_path: Path) -> None:
    expected = in_form(case, partial(encode_masks, form=FORM), tmp_path / "s.csv")
    errors, warnings = examine(tmp_path / "s.csv", expected)
    assert not errors and {warning.code for warning in warnings} == {"doctor.empty"}
    text = (tmp_path / "s.csv").read_text()
    (tmp_path / "turned.csv").write_text("".join(reversed(text.splitlines(keepends=True)[1:])))
    repair(tmp_path / "turned.csv", tmp_path / "repaired.csv", expected)
    assert (tmp_path / "repaired.csv").read_text() == text


def test_the_other_order_of_pixels_is_found_in_another_format(case: Case, tmp_path: Path) -> None:
    expected = in_form(case, encode_runs, tmp_path / "s.csv")
    errors, _ = examine(tmp_path / "s.csv", expected)
    assert {error.code for error in errors} == {"doctor.column_major"}
    assert "column by column" in errors[0].expected
