"""What the README and docs say of speed and of networks is what the benchmarks wrote."""

import json

import yaml
from benchmarks.table import markdown, summary

from benchmarks import zoo
from handbone.models.registry import ENTRIES
from imports import ROOT

RECORDS = json.loads((ROOT / "benchmarks/results.json").read_text())
NAMED = {
    "preprocess", "loader_512", "loader_1024", "score_512", "logits_to_rle_512", "rle_encode", "rle_decode", "csv", "probabilities",
}  # fmt: skip


def test_every_hot_path_has_a_row() -> None:
    assert {record["name"] for record in RECORDS} >= NAMED
    assert all({"name", "baseline_ms", "ours_ms", "ratio", "peak_mb"} <= set(record) for record in RECORDS)


def test_the_tables_are_the_benchmarks_output() -> None:
    assert summary(RECORDS) in (ROOT / "README.md").read_text()
    assert markdown(RECORDS) in (ROOT / "docs/performance.md").read_text()


def test_every_network_has_a_row() -> None:
    records, facts = json.loads(zoo.RESULTS.read_text()), yaml.safe_load(zoo.FACTS.read_text())
    assert set(records) == set(facts) == set(ENTRIES)
    assert zoo.table(records, facts) in zoo.PAGE.read_text()
