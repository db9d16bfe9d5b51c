"""One clear error for everything that a user can fix."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from conftest import Fails
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any, require_file, run_cli, warn

PROBLEMS = [Problem("room.fault", f"file{number}", "this", f"that{number}", "do so") for number in range(3)]


def test_every_problem_is_listed_with_what_was_expected_what_was_found_and_the_fix() -> None:
    with pytest.raises(UserError) as error:
        raise_if_any(PROBLEMS, "the title")
    lines = str(error.value).splitlines()
    assert lines[0] == "the title: 3 problems"
    assert lines[1:] == [f"  file{number}: expected this; found that{number}; do so" for number in range(3)]


def test_problems_that_differ_only_in_their_place_share_a_line() -> None:
    same = [Problem("room.fault", place, "this", "that", "do so") for place in ("a", "b", "a")]
    other = Problem("room.other", "c", "this", "that", "do so")
    error = UserError(*same, other)
    assert str(error) == "a, b: expected this; found that; do so\nc: expected this; found that; do so"
    assert error.codes == {"room.fault", "room.other"}
    assert error.places == ["a", "b", "a", "c"]


def test_equal_problems_in_many_files_are_one_line_with_three_examples_and_a_count() -> None:
    error = UserError(*(Problem("room.fault", f"{number}.json", "this", "that", "do so") for number in range(800)), title="the title")
    assert str(error) == "the title: 800 problems\n  0.json, 1.json, 2.json and 797 more: expected this; found that; do so"
    assert len(error.places) == 800
    few = UserError(*(Problem("room.fault", f"{number}.json", "this", "that", "do so") for number in range(5)))
    assert str(few) == "0.json, 1.json, 2.json, 3.json, 4.json: expected this; found that; do so"


def test_hundreds_of_different_problems_of_one_kind_end_in_a_count() -> None:
    many = [Problem("room.fault", f"{number}.json", "this", f"{number}", "do so") for number in range(800)]
    lines = str(UserError(*many, Problem("room.other", "last", "this", "that", "do so"))).splitlines()
    assert lines[29] == "29.json: expected this; found 29; do so"
    assert lines[30] == "last: expected this; found that; do so"
    assert lines[31].startswith("30.json, 31.json, 32.json and 767 more: ")
    assert len(lines) == 32


def test_warnings_are_lines_on_stderr_grouped_as_errors_are(capsys: pytest.CaptureFixture[str]) -> None:
    warn(*(Problem("room.fault", place, "this", "that", "do so") for place in "ab"), Problem("room.other", "c", "x", "y", "z"))
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "WARNING: a, b: expected this; found that; do so\nWARNING: c: expected x; found y; z\n"


def test_no_problem_no_error() -> None:
    raise_if_any([], "title")


def fail() -> None:
    raise UserError(*PROBLEMS, title="the title")


def test_an_error_of_another_process_arrives_complete() -> None:
    """Processes send them pickled."""
    error = pickle.loads(pickle.dumps(UserError(*PROBLEMS, title="the title")))
    assert (error.problems, error.title) == (tuple(PROBLEMS), "the title")
    assert str(error) == str(UserError(*PROBLEMS, title="the title"))


def test_the_nearest_name_is_suggested_in_any_letter_case() -> None:
    assert nearest("unett", ["FPN", "Unet"]) == "did you mean Unet?"
    assert nearest("zzz", ["FPN", "Unet"]) == "known: FPN, Unet"


def test_a_missing_file_of_an_earlier_stage_is_an_error(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "a").touch()
    assert require_file(tmp_path / "a") == tmp_path / "a"
    with fails("stage.input_missing", str(tmp_path / "b")):
        require_file(tmp_path / "b")


def test_user_errors_and_ctrl_c_end_a_command_without_a_traceback() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="the title"):
        run_cli(fail)
    with pytest.raises(SystemExit) as ended:
        run_cli(interrupted)
    assert ended.value.code == 130


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_cli(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
