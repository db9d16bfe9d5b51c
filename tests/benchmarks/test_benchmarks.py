"""The tables of speed and of networks in README and docs equal the output of the benchmarks."""

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


def test_the_tables_equal_the_output_of_the_benchmarks() -> None:
    table, readme = summary(RECORDS).splitlines(), (ROOT / "README.md").read_text().splitlines()
    start = readme.index(table[0])
    shown = readme[start : readme.index("", start)]
    assert len(shown) > 2 and set(shown) <= set(table)  # the README shows some of the rows
    assert markdown(RECORDS) in (ROOT / "docs/performance.md").read_text()


def test_every_network_has_a_row() -> None:
    records, facts = json.loads(zoo.RESULTS.read_text()), yaml.safe_load(zoo.FACTS.read_text())
    assert set(records) == set(facts) == set(ENTRIES)
    assert zoo.table(records, facts) in zoo.PAGE.read_text()
