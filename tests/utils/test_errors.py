"""One clear error for everything that a user can fix."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from conftest import Fails
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any, require_file, run_cli

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


def test_no_problem_no_error() -> None:
    raise_if_any([], "title")


def fail(_: int) -> None:
    raise UserError(*PROBLEMS, title="the title")


def test_an_error_of_another_process_arrives_complete() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(UserError) as error:
        list(pool.map(fail, [0]))
    assert (error.value.problems, error.value.title) == (tuple(PROBLEMS), "the title")
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


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
        run_cli(lambda: fail(0))
    with pytest.raises(SystemExit, match="Interrupted"):
        run_cli(interrupted)


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_cli(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
