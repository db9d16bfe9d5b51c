"""The error for everything that a user can fix. It lists every problem with what was expected, what was found and how to fix it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


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
    """Something that the user can fix. The text lists every problem; problems that differ only in their place share a line.

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
    """Merge problems that are equal except for their place into one that names all places."""
    places: dict[tuple[str, str, str, str], list[str]] = {}
    for problem in problems:
        places.setdefault((problem.code, problem.expected, problem.found, problem.fix), []).append(problem.place)
    return [Problem(code, ", ".join(dict.fromkeys(at)), expected, found, fix) for (code, expected, found, fix), at in places.items()]


def raise_if_any(problems: Sequence[Problem], title: str) -> None:
    """Raise one `UserError` that lists every problem; do nothing if there is none."""
    if problems:
        raise UserError(*problems, title=title)


def nearest(name: str, known: Sequence[str]) -> str:
    """A question that offers the known name closest to `name`, e.g. `did you mean Unet?`, or a list of the known names."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[close[0]]}?" if close else f"known: {', '.join(known)}"


def require_file(path: Path) -> Path:
    """`path`, a file that an earlier stage writes; a `UserError` if it does not exist, as when a stage is run by hand."""
    if not path.is_file():
        fix = "run dvc repro, which runs the stages that are missing"
        raise UserError(Problem("stage.input_missing", str(path), "the file that an earlier stage writes", "none", fix))
    return path


def run_cli(main: Callable[[], None]) -> None:
    """Run a command's `main`; a `UserError` ends the process with its text alone, Ctrl-C ends it without a traceback."""
    try:
        main()
    except UserError as error:
        sys.exit(f"\nERROR: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the same command resumes from here.")
