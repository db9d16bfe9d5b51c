"""The run whose scores git has: what the page compares the present one with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from handbone.evaluation.comparison import Comparison, compare, read_held_out
from handbone.provenance.history import GitUnavailableError, ask_git, object_at
from handbone.provenance.revisions import cached_outs
from handbone.report.changes import CommittedRun
from handbone.utils.errors import UserError


def committed_run(folder: Path, metrics: Path, params: Path) -> CommittedRun | str:
    """The run in the last commit that changed the metrics, by its metrics and parameters; or the reason why there is none.

    A later commit may have changed the parameters before they were run, as whoever sets up another data set does.
    """
    try:
        written = ask_git(folder, "log", "-1", "--format=%h %cs", "--", str(metrics)).split()
    except GitUnavailableError as error:
        return error.reason
    documents = [object_at(folder, written[0], path.as_posix()) for path in (metrics, params)] if written else []
    if not written or not all(documents):
        return f"the commit that is checked out has no {metrics} and {params} that can be read"
    return CommittedRun(written[0], written[1], *documents)


def compared_with_committed(counts: Path, folds: Path) -> Comparison | None:
    """The held-out images of the commit that is checked out and of the working directory, from the tables of both.

    None if DVC's cache lacks the commit's tables, or if the two cannot be compared.
    """
    with suppress(UserError):
        before = read_held_out("the committed run", *cached_outs("HEAD", [counts, folds]))
        return compare(before, read_held_out("this run", counts, folds))
    return None
