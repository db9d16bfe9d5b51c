"""One clear error for what a user can mend: every offender, each with what was expected, what was found and what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """Something the user can mend; its text is all they need to see."""


@dataclass(frozen=True)
class Problem:
    """One offender: the file (or key) it sits in, what belongs there, what is there, and the way out."""

    where: str
    expected: str
    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}; found {self.found}; {self.fix}"


def raise_if_any(problems: Sequence[Problem], title: str) -> None:
    """Raise one `UserError` that lists every problem; do nothing when there is none."""
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise UserError(f"{title}: {count}\n{lines}")


def nearest(name: str, known: Sequence[str]) -> str:
    """A question that offers the known name nearest to `name`, e.g. `did you mean Unet?`, or a list of what is known."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[close[0]]}?" if close else f"known: {', '.join(known)}"


def made(path: Path) -> Path:
    """`path`, a file that an earlier stage writes; a `UserError` where there is none, as when a stage is run by hand."""
    if not path.is_file():
        raise UserError(f"{path}: expected the file that an earlier stage writes; found none; run dvc repro, which runs what is missing")
    return path


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main`; a `UserError` ends the process with its text alone, a key press without a traceback."""
    try:
        main()
    except UserError as error:
        sys.exit(f"\nERROR: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the same command goes on from here.")
