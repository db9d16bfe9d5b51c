"""Single files of a folder that a stage wrote in another revision, read through the folder's list in DVC's cache."""

from __future__ import annotations

import json
from pathlib import Path

from handbone.provenance.revisions import cached_outs
from handbone.utils.errors import Problem, UserError


class CachedFolder:
    """A folder of a revision; nothing is checked out."""

    def __init__(self, rev: str, out: Path) -> None:
        """rev, out: as of `cached_outs`, which raises `UserError`; also raised for a list that cannot be read."""
        self.rev, self.out = rev, out
        (listing,) = cached_outs(rev, [out])
        self.objects = self._objects(listing)

    def _objects(self, listing: Path) -> dict[str, Path]:
        """The objects in the cache by file name."""
        cache = listing.parent.parent
        try:
            entries = json.loads(listing.read_bytes())
            return {entry["relpath"]: cache / entry["md5"][:2] / entry["md5"][2:] for entry in entries}
        except (ValueError, KeyError, TypeError):
            fix = f"remove the file and run {self._fetch}"
            raise UserError(Problem("revision.folder", str(listing), f"the list of files in {self.out}", "another file", fix)) from None

    @property
    def _fetch(self) -> str:
        return f"dvc fetch --all-commits {self.out}; for somebody's experiment, dvc exp pull REMOTE {self.rev}"

    def file(self, path: Path) -> Path:
        """The file in DVC's cache. path: as the stage wrote it, in the folder. Raises `UserError` if it is missing."""
        place, found = f"{self.rev}: {path}", self.objects.get(path.relative_to(self.out).as_posix())
        if found is None:
            raise UserError(Problem("revision.no_file", place, "a file of this folder", "none", "compare experiments on the same data"))
        if not found.is_file():
            raise UserError(Problem("revision.not_cached", place, "the file in DVC's cache", "none", f"run {self._fetch}"))
        return found
