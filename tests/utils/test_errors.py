"""One clear error."""

import pytest

from handbone.utils.errors import Problem, UserError, nearest, raise_if_any, run


def test_every_problem_is_listed_with_what_was_expected_found_and_to_do() -> None:
    problems = [Problem(f"file{number}", "this", f"that{number}", "do so") for number in range(3)]
    with pytest.raises(UserError) as error:
        raise_if_any(problems, "the title")
    told = str(error.value)
    assert told.startswith("the title: 3 problems")
    assert all(f"file{number}: expected this; found that{number}; do so" in told for number in range(3))


def test_no_problem_no_error() -> None:
    raise_if_any([], "title")


def test_the_nearest_name_is_offered_whatever_its_case() -> None:
    assert nearest("unett", ["FPN", "Unet"]) == "did you mean Unet?"
    assert nearest("zzz", ["FPN", "Unet"]) == "known: FPN, Unet"


def test_mistakes_and_keys_end_the_process_without_a_traceback() -> None:
    def mistake() -> None:
        raise UserError("text")

    def key() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="text"):
        run(mistake)
    with pytest.raises(SystemExit, match="Interrupted"):
        run(key)


def test_faults_of_the_program_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
