"""One finding about the labels or the images of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["mirrored", "swapped", "wrong_bone", "missing", "foreign", "off_bone", "held_out", "duplicate", "leak"]
KINDS: dict[Kind, str] = {
    "mirrored": "labels mirrored",
    "swapped": "labels exchanged",
    "wrong_bone": "label in another class's place",
    "missing": "class missing",
    "leak": "in train and test",
    "foreign": "foreign object",
    "off_bone": "unlike its class",
    "held_out": "unlike the prediction",
    "duplicate": "same picture",
}
"""Each kind in words."""
CERTAIN = ("mirrored", "swapped", "wrong_bone", "missing", "leak")
"""Kinds that another explanation confirms: errors. The others are warnings, because rare anatomy looks the same."""
SHOWN = 4  # classes that are named


@dataclass(frozen=True)
class Finding:
    """What may be wrong with one image.

    classes: numbers of the classes that it is about. strange: how far from what is usual, in units of the limit, so at least 1. words:
    what was found, as a clause. subset: train or test. twin: subset and key of the image with the same picture.
    """

    key: str
    kind: Kind
    classes: Sequence[int]
    strange: float
    words: str
    subset: str = "train"
    twin: tuple[str, str] | None = None

    @property
    def certain(self) -> bool:
        """Whether another explanation fits so well that it is an error."""
        return self.kind in CERTAIN

    def names(self, classes: Sequence[str]) -> str:
        """The names of its classes; of many, the first."""
        shown = ", ".join(classes[c] for c in self.classes[:SHOWN])
        return shown + (f" and {len(self.classes) - SHOWN} more" if len(self.classes) > SHOWN else "")


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Those that another explanation confirms first, the strangest of each first."""
    return sorted(findings, key=lambda finding: (not finding.certain, -finding.strange, finding.key, finding.classes))


def list_lines(findings: Sequence[Finding], classes: Sequence[str]) -> Iterator[str]:
    """A line for each of the ranked findings."""
    for rank, finding in enumerate(findings, 1):
        level = "ERROR" if finding.certain else "WARNING"
        about = f" ({finding.names(classes)})" if finding.classes else ""
        place = finding.key if finding.subset == "train" else f"{finding.subset}/{finding.key}"
        yield f"{rank:4d}. {level} {place}: {KINDS[finding.kind]}{about}: {finding.words} [{finding.strange:.1f}]"
