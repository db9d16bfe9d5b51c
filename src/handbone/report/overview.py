"""The top of the page: which run it is, and its scores."""

from __future__ import annotations

from collections.abc import Sequence

from handbone.evaluation.decision import Decision
from handbone.report.html import Json, note, tiles
from handbone.report.scores import Scores

MEANING = (
    "Validation: every training image of these folds, predicted by the network that was not trained on its person. "
    "Test: the mean of all folds’ networks, as submitted. "
    "Both are means over classes and images at full resolution, by the competition’s formula."
)
NESTED = " The decision was searched on the held-out people. Trust the nested Dice: there, each image is decided without its person."


def headline(lineage: Json, date: str) -> tuple[str, str]:
    """The page's title and the line below it. lineage: submissions/submission.json; date: of the page, as text."""
    model, train = lineage["parameters"]["model"], lineage["parameters"]["train"]
    title = " · ".join(filter(None, [model["arch"], model["encoder"], f"{train['size']} px"]))
    devices = {str(machine["device"]) for each in lineage["models"].values() if "device" in (machine := each.get("machine") or {})}
    trained = f"trained on {', '.join(sorted(devices))}" if devices else ""
    return title, " · ".join(filter(None, [date, _commit(lineage["git"]), lineage["parameters"]["data"]["root"], trained]))


def _commit(git: Json) -> str:
    if not git.get("commit"):
        return "no git commit"
    changed = len(git.get("changed_files", []))
    return f"commit {git['commit'][:12]}" + (f" and {changed} changed file{'s' * (changed > 1)}" if changed else "")


def score_tiles(scores: Scores, test: Scores, decision: Decision) -> str:
    """The scores with their intervals over people, and what they are computed from. test: without an image if the truth is unknown."""
    in_sample = f"in sample {scores.dice.mean():.4f}; " if scores.searched else ""
    entries = [("Validation Dice" + ", nested" * scores.searched, f"{scores.unseen.mean():.4f}", in_sample + _interval(scores))]
    if test.keys:
        entries.append(("Test Dice", f"{test.dice.mean():.4f}", _interval(test)))
    entries.append(("Validation IoU", f"{scores.iou.mean():.4f}", ""))
    entries.append(("Validation images", f"{len(scores.keys):,}", f"{_people(scores)}, {_folds(scores.folds)}"))
    if test.keys:
        entries.append(("Test images", f"{len(test.keys):,}", _people(test)))
    given = decision.threshold
    entries.append(("Threshold", f"{given:g}" if isinstance(given, float) else "per class" if given else "none (argmax)", ""))
    if decision.members:
        entries.append(("Members", f"{len(decision.members)}", ", ".join(decision.members)))
    return tiles(entries) + note(MEANING + NESTED * scores.searched)


def _interval(scores: Scores) -> str:
    found = scores.interval()
    return "too few people for an interval" if found is None else "95 % interval {:.4f} to {:.4f}".format(*found)


def _people(scores: Scores) -> str:
    people = len(set(scores.people))
    return f"{people:,} {'people' if people > 1 else 'person'}"


def _folds(folds: Sequence[int]) -> str:
    count = len(set(folds))
    return f"{count} fold{'s' * (count > 1)}"
