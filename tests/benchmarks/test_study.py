"""The studies' tables: what they say, and that the page says it."""

import json

import pytest
from benchmarks.nearest import TARGETS
from benchmarks.study import PAGE, ROOT, STUDIES, Study, Variant, changed, table

from handbone.cli.preset import preset_params


@pytest.mark.parametrize("name", STUDIES)
def test_the_page_shows_the_results(name: str) -> None:
    known = json.loads((ROOT / f"benchmarks/{name}.json").read_text())
    assert table(STUDIES[name](), known) in PAGE.read_text()


@pytest.mark.parametrize("name", STUDIES)
def test_every_variant_has_parameters_that_are_allowed(name: str) -> None:
    study = STUDIES[name]()
    base = changed(preset_params("demo", ROOT / "presets"), study.base)
    variants = [variant for group in study.groups for variant in group]
    assert len({variant.name for variant in variants}) == len(variants)
    assert {variant.like for variant in variants} <= {"", *(variant.name for variant in variants)}
    assert {variant.target for variant in variants} <= {"", *TARGETS}
    for variant in variants:
        for changes in (*variant.after, variant.changes):
            assert changed(base, changes).train.epochs % changed(base, changes).train.validate_every == 0


def test_differences_are_paired_by_seed() -> None:
    study = Study({}, ((Variant("a"), Variant("b")), (Variant("c"),)))
    known = {"a": {"1": 0.5, "2": 0.7, "3": 0.6}, "b": {"3": 0.63, "1": 0.51, "2": 0.72}, "c": {"1": 0.1, "2": 0.1, "3": 0.1}}
    _, _, first, second, third = table(study, known).splitlines()
    assert first == "| a | 0.6000 | 0.5000 0.7000 |  |  |"
    assert second == "| b | 0.6200 | 0.5100 0.7200 | +0.0200 | ±0.0248 |"  # 4.303 · 0.01 / √3
    assert third == "| c | 0.1000 | 0.1000 0.1000 |  |  |"
