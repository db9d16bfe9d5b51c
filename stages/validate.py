"""Out-of-fold probabilities -> the decision, and the counts and Dice of the held-out people under it. No network runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm import tqdm

from handbone.cache.sample import check_samples, read_masks
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.dataset.folds import read_folds
from handbone.deciding.procedure import HeldOutImages, describe, make_decisions
from handbone.evaluation.decision import Decision, decide, decided_counts
from handbone.evaluation.dice import NESTED, count, counts_table, is_nested, mean_dice, mean_pooled_iou, nested_counts
from handbone.evaluation.members import Ensemble, Stored, read_members
from handbone.evaluation.surface_distances import DISTANCES, scores_by_class, surface_distances
from handbone.masks.cropped_maps import CroppedMaps
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.utils.io import read_table, write_table
from handbone.utils.parallel import prefetch_map
from stages import run_stage


def held_out(params: Params) -> tuple[dict[str, int], Ensemble]:
    """The fold of each held-out image by key, fold by fold in the order of params.yaml; and the predictions, checked as the images are."""
    table = read_folds(paths.FOLDS, paths.TRAIN_INDEX, params.folds)
    folds = {str(key): fold for fold in params.folds for key in table.loc[table["fold"] == fold, "key"]}
    check_samples(paths.TRAIN_INDEX, {key: paths.cached_sample("train", key) for key in folds})
    stored = {name: Stored(paths.pin(name), *paths.stored("oof", folds, name)) for name in params.decide.ensemble}
    tables = [paths.TRAIN_INDEX, paths.FOLDS]
    return folds, read_members(stored, "oof", params.folds, params.data.classes, tables, paths.FOLDS, params.data.exclusive)


def held_out_images(folds: dict[str, int], predictions: Ensemble) -> HeldOutImages:
    """The held-out images with their people, probabilities and truth."""
    table = read_table(paths.FOLDS, ["key", "person"])
    people = dict(zip(table["key"], table["person"], strict=True))

    def read(key: str) -> tuple[list[CroppedMaps], PackedMasks]:
        truth = read_masks(paths.cached_sample("train", key), len(predictions.classes))
        return predictions.load(key, truth.shape), truth

    return HeldOutImages({key: people[key] for key in folds}, predictions.classes, read)


def validation_counts(folds: dict[str, int], images: HeldOutImages, decisions: list[Decision]) -> pd.DataFrame:
    """The held-out images under the decision -> rows of key, class, tp, fp, fn, fold, hd95, assd (pixels).

    If a search was accepted, also nested_tp, nested_fp, nested_fn: under the decision that was made without the image's person.
    """
    decision, groups = decisions[0], dict(zip(folds, images.groups().tolist(), strict=True))

    def counts(key: str) -> pd.DataFrame:
        maps, truth = images.read(key)
        masks = decide(maps, truth.shape, decision), RunLengthMasks.from_packed(truth)
        table = counts_table(key, images.classes, count(*masks, decision.exclusive)).assign(fold=folds[key])
        table[list(DISTANCES)] = np.nan if decision.exclusive else surface_distances(*masks)  # void has no true surface
        if not any(search.accepted for search in decision.searches.values()):
            return table
        return table.assign(**dict(zip(NESTED, decided_counts(maps, truth, decisions[1 + groups[key]]).T, strict=True)))

    tables = tqdm(prefetch_map(counts, folds), "validate", len(folds), unit="image")
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """Run the stage."""
    params = load_params()
    folds, predictions = held_out(params)
    images = held_out_images(folds, predictions)
    decisions = make_decisions(params.decide, images)
    table = validation_counts(folds, images, decisions)
    write_table(paths.VALIDATION_COUNTS, table)
    decisions[0].save(paths.DECISION, *paths.DECIDED_WITH)
    write_table(paths.DICE_PER_CLASS, scores_by_class(table).reset_index())
    for line in describe(decisions[0], params.data.classes):
        print(line)
    nested = f" in sample, {mean_dice(nested_counts(table)):.4f} nested" if is_nested(table) else ""
    miou = f", mIoU {mean_pooled_iou(table):.4f}" if params.data.exclusive else ""
    print(f"held-out Dice {mean_dice(table):.4f}{nested}{miou} over {table['key'].nunique()} images and {len(params.data.classes)} classes")


if __name__ == "__main__":
    run_stage(main)
