"""`handbone cam [IMAGE ...] -o OUT`: where the networks look when they find a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from handbone.cache.resize import shrink
from handbone.cache.sample import read_sample
from handbone.cli.model_set import model_set, model_set_of
from handbone.config import paths
from handbone.evaluation.comparison import read_held_out
from handbone.evaluation.dice import dice
from handbone.prediction.cam.drawing import LONGEST
from handbone.prediction.cam.run import PAGE, Case, write_cams
from handbone.prediction.extras import require_extra
from handbone.prediction.model import Model
from handbone.prediction.model_set import ModelSet
from handbone.prediction.outputs import check_class_names
from handbone.prediction.pictures import Picture, find_pictures, read
from handbone.provenance.revisions import cached_outs, stored_folders
from handbone.utils.errors import Problem, UserError, all_of, nearest, raise_if_any, require_file
from handbone.utils.io import read_table

WORST = 3  # images that are explained, if none are named


@dataclass(frozen=True)
class HeldOutImages:
    """The training images of an experiment. table: of folds; fold: which held an image out, by key, worst Dice first; sample: its npz."""

    table: Path
    fold: Mapping[str, int]
    sample: Callable[[str], Path]


def explain_images(images: Sequence[str], out: Path, classes: Sequence[str], layer: str | None, folder: Path, rev: str | None) -> None:
    """Write heat maps to the new folder `out`. images: keys of held-out images, or pictures; folder: of the models, unless there is `rev`.

    Raises `UserError` without captum, for images and classes that do not exist, and as `model_set`, `Model` and `write_cams` do.
    """
    require_extra("cam", "handbone cam", "captum")
    with model_set_of(rev) if rev is not None else nullcontext(model_set(folder)) as found:
        held = _held_out(rev) if rev is not None or folder.resolve() == paths.MODELS.resolve() else None
        if not images and held is None:
            fix = "name pictures, or run it in the repository where the models were trained"
            raise UserError(Problem("cam.image", "IMAGES", "pictures, as the folder has no held-out images", "none", fix))
        _check_classes(classes, found.params.data.classes)
        check_class_names(found.params.data.classes, "handbone cam")
        chosen = images or list(held.fold if held else ())[:WORST]
        count = write_cams(_cases(chosen, found, held), out, classes, layer)
    print(f"{out}: {count} heat maps; open {out / PAGE}")


def _held_out(rev: str | None) -> HeldOutImages:
    outs = [paths.VALIDATION_COUNTS, paths.FOLDS]
    if rev is None:
        counts, table = map(require_file, outs)
        sample = lambda key: require_file(paths.cached_sample("train", key))  # noqa: E731
    else:
        counts, table = cached_outs(rev, outs)
        _, (stored,) = stored_folders(rev, [paths.CACHE])
        sample = lambda key: stored.file(paths.cached_sample("train", key))  # noqa: E731
    held = read_held_out(rev or "the working tree", counts, table)
    keys = list(held.counts["key"].unique())
    scores = dict(zip(keys, dice(held.decided(keys, held.classes)).mean(1), strict=True))
    folds = read_table(table, ["key", "fold"]).set_index("key")["fold"]
    return HeldOutImages(table, {key: int(folds[key]) for key in sorted(keys, key=scores.__getitem__)}, sample)


def _check_classes(classes: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in classes if name not in known]
    raise_if_any([Problem("cam.class", "--classes", "a class of the networks", name, nearest(name, known)) for name in unknown], "")


def _cases(images: Sequence[str], found: ModelSet, held: HeldOutImages | None) -> list[Case]:
    """What is asked for, in order; networks are loaded once each. One `UserError` lists all that cannot be read."""
    fold_of = held.fold if held else {}

    @cache
    def model_of(fold: int | None) -> Model:
        """fold: the one whose network is asked; None: the networks of all."""
        return Model(found) if fold is None else Model(replace(found, folders={fold: found.folders[fold]}), held and held.table)

    def cases_of(image: str) -> list[Case]:
        if held and image in fold_of:
            sample, model = read_sample(held.sample(image)), model_of(fold_of[image])
            return [Case(model, model.prepare_cached(image, sample.image, sample.shape), sample.image, sample.masks)]
        if not Path(image).exists():
            fix = nearest(image, list(fold_of)[:WORST]) if fold_of else "correct the path"
            raise UserError(Problem("cam.image", image, "a held-out image (ID001/image1) or a picture", "neither", fix))
        return all_of("files that are no pictures", *(partial(_case_of, picture, model_of(None)) for picture in find_pictures(Path(image))))

    return [case for cases in all_of("images that cannot be explained", *(partial(cases_of, image) for image in images)) for case in cases]


def _case_of(picture: Picture, model: Model) -> Case:
    image = read(picture, None)
    return Case(model, model.prepare(picture.output, image), shrink(image, LONGEST), None)
