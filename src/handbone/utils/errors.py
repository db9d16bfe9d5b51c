"""The error for everything that a user can fix. It lists every problem with what was expected, what was found and how to fix it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

PLACES = 5  # of equal problems that are all named in the text; of more, three examples
LINES = 30  # of one kind of problem, before the text only counts them


@dataclass(frozen=True)
class Problem:
    """One fault.

    code: the kind of fault as `room.fault`, e.g. `annotation.label`; tests and scripts match it, while the wording may change.
    place: the file, key or argument where the fault is; expected, found, fix: one clause each, without a full stop.
    """

    code: str
    place: str
    expected: str
    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: expected {self.expected}; found {self.found}; {self.fix}"


class UserError(Exception):
    """Something that the user can fix. The text lists every problem; problems that differ only in their place share a line, which names
    three examples if there are many.

    Tests and scripts match `codes` and `places`, never the text.
    """

    def __init__(self, *problems: Problem, title: str = "") -> None:
        super().__init__(*problems)
        self.problems, self.title = problems, title

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.problems, self.title)  # pickle, which process pools use, would drop the keyword argument

    @property
    def codes(self) -> set[str]:
        """The code of every problem."""
        return {problem.code for problem in self.problems}

    @property
    def places(self) -> list[str]:
        """The place of every problem, in order."""
        return [problem.place for problem in self.problems]

    def __str__(self) -> str:
        lines = [str(group) for group in _grouped(self.problems)]
        if not self.title:
            return "\n".join(lines)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}"
        return "\n".join([f"{self.title}: {count}", *(f"  {line}" for line in lines)])


def _rebuild(problems: Sequence[Problem], title: str) -> UserError:
    return UserError(*problems, title=title)


def _grouped(problems: Iterable[Problem]) -> list[Problem]:
    """Merge problems that are equal except for their place into one; after `LINES` groups of one code, merge the rest of that code too."""
    places: dict[tuple[str, str, str, str], list[str]] = {}
    for problem in problems:
        places.setdefault((problem.code, problem.expected, problem.found, problem.fix), []).append(problem.place)
    groups: list[Problem] = []
    further: dict[str, list[str]] = {}  # places by code
    lines = Counter[str]()
    for (code, expected, found, fix), at in places.items():
        lines[code] += 1
        if lines[code] <= LINES:
            groups.append(Problem(code, _listed(at), expected, found, fix))
        else:
            further.setdefault(code, []).extend(at)
    return groups + [
        Problem(code, _listed(at), "as above", f"more faults of this kind ({code})", "fix as above") for code, at in further.items()
    ]


def _listed(places: Iterable[str]) -> str:
    """The distinct places; of many, three examples and the number of the others."""
    distinct = list(dict.fromkeys(places))
    return ", ".join(distinct) if len(distinct) <= PLACES else f"{', '.join(distinct[:3])} and {len(distinct) - 3} more"


def raise_if_any(problems: Sequence[Problem], title: str) -> None:
    """Raise one `UserError` that lists every problem; do nothing if there is none."""
    if problems:
        raise UserError(*problems, title=title)


def all_of(title: str, *calls: Callable[[], Any]) -> list[Any]:
    """Call each function -> the results. One `UserError` lists the problems of all that fail."""
    results, problems = [], list[Problem]()
    for call in calls:
        try:
            results.append(call())
        except UserError as error:
            problems += error.problems
    raise_if_any(problems, title)
    return results


def warn(*problems: Problem) -> None:
    """Print each problem as a line `WARNING: ...` to stderr, grouped as in `UserError`. For what may be wrong, but need not stop."""
    for group in _grouped(problems):
        print(f"WARNING: {group}", file=sys.stderr, flush=True)


def nearest(name: str, known: Sequence[str]) -> str:
    """A question that offers the known name closest to `name`, e.g. `did you mean Unet?`, or a list of the known names."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[close[0]]}?" if close else f"known: {', '.join(known)}"


def require_file(path: Path) -> Path:
    """`path`, a file that an earlier stage writes; a `UserError` if it does not exist, as when a stage is run by hand."""
    if not path.is_file():
        fix = "run dvc repro, which runs the stages that are missing, or dvc pull if a remote has their results"
        raise UserError(Problem("stage.input_missing", str(path), "the file that an earlier stage writes", "none", fix))
    return path


def run_cli(main: Callable[[], None]) -> None:
    """Run a command's `main`. A `UserError`, a limit of the machine, a signal and Ctrl-C end the process without a traceback.

    Exit status: 1 after an error, 128 + its number after a signal, also that of a pipe whose reader has ended. Processes of one launch
    print an equal error once.
    """
    from handbone.utils.ending import CLOSED_PIPE, INTERRUPTED, drop_output, end_at_once_on_interrupt, stop_signals
    from handbone.utils.limits import limit_error
    from handbone.utils.notice import notice_of_end

    try:
        with stop_signals(), notice_of_end():
            main()
            if sys.stdout is not None:
                sys.stdout.flush()  # here, as what Python cannot write at its end is no exception
    except SystemExit:
        drop_output()
        raise
    except UserError as error:
        _fail(error)
    except KeyboardInterrupt:
        end_at_once_on_interrupt()
        drop_output()
        print("\nInterrupted.", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if drop_output() and isinstance(error, BrokenPipeError):
            sys.exit(CLOSED_PIPE)
        limit = limit_error(error)
        if limit is None:
            raise
        _fail(limit)


def _fail(error: UserError) -> NoReturn:
    from handbone.utils.ending import drop_output, is_first_report

    drop_output()
    text = f"\nERROR: {error}"
    sys.exit(text if is_first_report(text) else 1)
