"""Which trained models a command means: those of a project, of a revision, or of an exported folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from handbone.config import paths
from handbone.utils.errors import Problem, UserError

if TYPE_CHECKING:
    from handbone.prediction.model import Model
    from handbone.prediction.model_set import ModelSet


def model_set(folder: Path) -> ModelSet:
    """The models in a folder: that of `handbone export`, or the folder `models` of a project, where `dvc repro` has ended.

    Raises `UserError` (`predict.model`) for another folder, and as `read_model_set` does.
    """
    from handbone.prediction.model_set import RECORD, read_model_set

    for record in (folder / RECORD, folder.parent / paths.LINEAGE):
        if folder.is_dir() and record.is_file():
            return read_model_set(record, lambda fold: folder / paths.fold_model(fold).name)
    found = f"neither {folder / RECORD} nor {folder.parent / paths.LINEAGE}" if folder.is_dir() else "no such folder"
    expected, fix = (
        "the models of a project, or a folder of handbone export",
        "correct the path, or run dvc repro, or dvc pull if a remote has its results",
    )
    raise UserError(Problem("predict.model", str(folder), expected, found, fix))


@contextmanager
def model_set_of(rev: str) -> Iterator[ModelSet]:
    """The models of a revision, as links into DVC's cache for the time of the block.

    Raises `UserError` as `cached_outs`, `stored_folders` and `read_model_set` do.
    """
    from handbone.models.saved import INFO, WEIGHTS
    from handbone.prediction.model_set import read_model_set
    from handbone.provenance.revisions import cached_outs, stored_folders

    (record,) = cached_outs(rev, [paths.LINEAGE])
    with TemporaryDirectory() as temporary:

        def linked(fold: int) -> Path:
            """The folder with links to the model of the fold."""
            _, (stored,) = stored_folders(rev, [paths.fold_model(fold)])
            folder = Path(temporary, f"fold_{fold}")
            folder.mkdir()
            for name in (WEIGHTS, INFO):
                (folder / name).symlink_to(stored.file(stored.out / name).absolute())
            return folder

        yield read_model_set(record, linked)


def load_model(folder: Path, rev: str | None = None) -> Model:
    """The model of a revision, or in a folder. Raises `UserError` as `model_set`, `model_set_of` and `Model` do."""
    from handbone.prediction.model import Model

    if rev is None:
        return Model(model_set(folder))
    with model_set_of(rev) as found:
        return Model(found)
