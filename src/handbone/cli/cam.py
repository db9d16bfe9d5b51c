"""`handbone cam [IMAGE ...] -o OUT`: where the networks look when they find a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from handbone.cache.resize import shrink
from handbone.cache.sample import read_sample
from handbone.cli.model_set import model_set, model_set_of
from handbone.cli.predict import window_problems
from handbone.config import paths
from handbone.evaluation.comparison import read_held_out
from handbone.evaluation.dice import dice
from handbone.formats.images import Window
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
    """The held-out images of an experiment. table: of folds; fold: of each image by key, lowest Dice first; sample: the npz of a key."""

    table: Path
    fold: Mapping[str, int]
    sample: Callable[[str], Path]


def explain_images(
    images: Sequence[str],
    out: Path,
    classes: Sequence[str],
    layer: str | None,
    folder: Path,
    rev: str | None,
    window: Sequence[float] | None = None,
) -> None:
    """Write heat maps to the new folder `out`.

    images: keys of held-out images, or pictures; none: the held-out images with the lowest Dice. folder: of the models, unless a revision
    is given. window: for pictures of more than 8 bits.
    Raises `UserError` without captum, for images and classes that do not exist, and as `model_set`, `Model` and `write_cams` do.
    """
    require_extra("cam", "handbone cam", "captum")
    with model_set_of(rev) if rev is not None else nullcontext(model_set(folder)) as found:
        _check(classes, found.params.data.classes, window)
        has_images = rev is not None or folder.resolve() == paths.MODELS.resolve()
        held = _held_out(rev, found.folders) if has_images else HeldOutImages(paths.FOLDS, {}, _sample_here)
        chosen = list(dict.fromkeys(images)) or list(held.fold)[:WORST]
        if not chosen:
            fix = "name pictures, or run it in the repository where the models were trained"
            raise UserError(Problem("cam.image", "IMAGES", "pictures, as these models have no held-out images here", "none", fix))
        count = write_cams(_cases(chosen, found, held, (window[0], window[1]) if window else None), out, classes, layer)
    print(f"{out}: {count} heat maps; open {out / PAGE}")


def _check(chosen: Sequence[str], classes: Sequence[str], window: Sequence[float] | None) -> None:
    """Raise `UserError` with everything that is wrong with the arguments."""
    unknown = [name for name in chosen if name not in classes]
    problems = [Problem("cam.class", "--classes", "a class of the networks", name, nearest(name, classes)) for name in unknown]
    raise_if_any(problems + window_problems(window), "")
    check_class_names(classes, "handbone cam")


def _sample_here(key: str) -> Path:
    """The npz of a training image in the working tree."""
    return require_file(paths.cached_sample("train", key))


def _held_out(rev: str | None, trained: Container[int]) -> HeldOutImages:
    """trained: the folds that have a network."""
    outs = [paths.VALIDATION_COUNTS, paths.FOLDS]
    counts, table = [require_file(out) for out in outs] if rev is None else cached_outs(rev, outs)
    held = read_held_out(rev or "the working tree", counts, table)
    keys = list(held.counts["key"].unique())
    scores = dict(zip(keys, dice(held.decided(keys, held.classes)).mean(1), strict=True))
    folds = {key: int(fold) for key, fold in read_table(table, ["key", "fold"]).set_index("key")["fold"].items()}
    fold = {key: folds[key] for key in sorted(keys, key=scores.__getitem__) if folds[key] in trained}
    if rev is None:
        return HeldOutImages(table, fold, _sample_here)
    _, (stored,) = stored_folders(rev, [paths.CACHE])
    return HeldOutImages(table, fold, lambda key: stored.file(paths.cached_sample("train", key)))


def _cases(images: Sequence[str], found: ModelSet, held: HeldOutImages, window: Window | None) -> list[Case]:
    """What is asked for, in order; each network is loaded once. One `UserError` lists everything that cannot be explained."""

    @cache
    def model_of(fold: int | None) -> Model:
        """fold: the one whose network is asked; None: the networks of all."""
        return Model(found) if fold is None else Model(replace(found, folders={fold: found.folders[fold]}), held.table)

    def cases_of(image: str) -> list[Case]:
        """image: the key of a held-out image, a picture, or a folder of pictures."""
        if image in held.fold:
            sample, model = read_sample(held.sample(image)), model_of(held.fold[image])
            return [Case(model, model.prepare_cached(image, sample.image, sample.shape), sample.image, sample.masks)]
        if not Path(image).exists():
            fix = nearest(image, list(held.fold)[:WORST]) if held.fold else "correct the path"
            raise UserError(Problem("cam.image", image, "a held-out image (ID001/image1) or a picture", "neither", fix))
        pictures = find_pictures(Path(image))
        return all_of("files that cannot be explained", *(partial(_case_of, each, model_of(None), window) for each in pictures))

    several = all_of("images that cannot be explained", *(partial(cases_of, image) for image in images))
    cases = [case for each in several for case in each]
    names = Counter(case.prepared.key for case in cases)
    fix = "explain them in two calls"
    twice = [Problem("cam.image", name, "images of different names", "the same name twice", fix) for name in names if names[name] > 1]
    raise_if_any(twice, "")
    return cases


def _case_of(picture: Picture, model: Model, window: Window | None) -> Case:
    image = read(picture, window)
    return Case(model, model.prepare(picture.output, image), shrink(image, LONGEST), None)
