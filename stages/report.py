"""All results -> reports/index.html, one page that works offline."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from handbone.cache.sample import CachedSample, read_sample
from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.config.yaml12 import read_yaml
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.members import maps_of
from handbone.provenance.committed import committed_run, compared_with_committed
from handbone.report.attributes import attributes_section
from handbone.report.cases import cases_section, choose_images
from handbone.report.changes import changes
from handbone.report.checks import data_section
from handbone.report.classes import classes_section
from handbone.report.data_section import training_data_section
from handbone.report.data_statistics import describe_data
from handbone.report.decision import decision_section
from handbone.report.html import document
from handbone.report.images import images_section
from handbone.report.layers import Shown
from handbone.report.neighbours import count_covered, neighbours_section
from handbone.report.origin import lineage_section, stages_section
from handbone.report.overview import headline, score_tiles
from handbone.report.previews import previews_section
from handbone.report.scores import Scores
from handbone.report.training import folds_section
from handbone.utils.durations import read_durations
from handbone.utils.io import read_json, read_table, write_text
from handbone.utils.notice import tell
from stages import ROOT, run_stage

PARAMS = Path("params.yaml")


def read(key: str) -> CachedSample:
    """A training image."""
    return read_sample(paths.cached_sample("train", key))


def show(key: str, classes: list[str], decision: Decision) -> Shown:
    """A held-out image with the true and the predicted masks of all classes."""
    sample = read(key)
    maps = [maps_of(paths.prediction_record("oof", name), paths.prediction("oof", key, name), classes) for name in decision.names]
    return Shown.of(sample, decide(maps, sample.shape, decision))


def make_page(params: Params) -> str:
    """The whole page: section by section, from top to bottom."""
    lineage, metrics, data = read_json(paths.LINEAGE), read_json(paths.METRICS), read_json(paths.DATA_REPORT)
    decision = Decision.load(paths.DECISION, params.data.classes, *paths.DECIDED_WITH)
    scores, test = Scores.of(read_table(paths.VALIDATION_COUNTS)), Scores.of(read_table(paths.TEST_COUNTS))
    chosen, masks = choose_images(scores, params.report.cases), partial(show, classes=params.data.classes, decision=decision)
    compared = partial(compared_with_committed, paths.VALIDATION_COUNTS, paths.FOLDS)
    since = changes(committed_run(Path.cwd(), paths.METRICS, PARAMS), metrics, read_yaml(PARAMS), compared)
    sections = [
        folds_section(scores, {fold: read_table(paths.fold_curve(fold)) for fold in params.folds}),
        classes_section(scores, test, data),
        attributes_section(read_table(paths.DICE_PER_ATTRIBUTE), metrics),
        decision_section(decision),
        cases_section(scores, masks, chosen),
        images_section(scores, chosen),
        neighbours_section(params.data.classes, count_covered(scores.keys, masks)),
        previews_section(read_table(paths.TRAIN_INDEX)["key"].tolist(), read, params),
        data_section(data, data["warnings"] + read_json(paths.SPLIT_REPORT)["warnings"]),
        training_data_section(describe_data(map(read_table, paths.DESCRIBED), params.data.classes, read), data),
        stages_section(list(read_yaml(ROOT / "dvc.yaml")["stages"]), read_durations()),
        lineage_section(lineage),
    ]
    top = score_tiles(scores, test, decision) + since
    return document(*headline(lineage, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"), top, sections)


def main() -> None:
    """Run the stage."""
    write_text(paths.PAGE, make_page(load_params()))
    print(f"open {paths.PAGE}")
    tell("the graph is up to date")


if __name__ == "__main__":
    run_stage(main)
