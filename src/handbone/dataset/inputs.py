"""The samples and the table of people together, with the faults of both in one error."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from handbone.dataset.layout import IMAGES, Sample, find_samples
from handbone.dataset.people import People, people_faults, read_people
from handbone.utils.errors import Problem, all_of, raise_if_any


def read_inputs(root: Path, exclude: Sequence[str]) -> tuple[list[Sample], People, list[Problem]]:
    """The samples, the attributes of people, and warnings. Raises one `UserError` with the faults of the folders and of people.csv."""
    title = f"{root} cannot be used"
    samples, people = all_of(title, partial(find_samples, root, exclude), partial(read_people, root))
    # those who are excluded count, so that a table of all people fits
    names = {subset: {sample.person for sample in samples if sample.subset == subset} | set(exclude) for subset in ("train", "test")}
    errors, warnings = people_faults(root, people, names["train"], names["test"])
    raise_if_any(errors, title)
    return samples, people, warnings + _no_test_set(root, samples)


def _no_test_set(root: Path, samples: Sequence[Sample]) -> list[Problem]:
    """A warning if there is nothing to predict: it may be meant so, or the folder has another name."""
    if any(sample.subset == "test" for sample in samples):
        return []
    found = "none, so scores are those of held-out people only, and the submission will have no rows"
    return [Problem("layout.no_test_set", str(root / IMAGES["test"]), "test images", found, "add them if there are any")]
