"""The tables of speed and of networks in README and docs equal the output of the benchmarks."""

import json

import yaml
from benchmarks.gpu.page import KEPT, PAGE, with_table, without_logs
from benchmarks.table import gpu_markdown, markdown, summary

from benchmarks import zoo
from handbone.models.registry import ENTRIES
from imports import ROOT

RECORDS = json.loads((ROOT / "benchmarks/results.json").read_text())
NAMED = {
    "preprocess", "loader_512", "loader_1024", "score_512", "logits_to_rle_512", "rle_encode", "rle_decode", "csv", "vote",
    "vote_files", "joined", "joined_sizes", "joined_set", "sweep", "clean_up", "probabilities",
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


def test_the_gpu_table_equals_the_results_and_the_page_names_their_run() -> None:
    report, page = json.loads(KEPT.read_text()), PAGE.read_text()
    assert gpu_markdown(report["sections"]) in page and with_table(page, report) == page
    assert report["command"] in page and f"commit {report['commit'][:7]}" in page
    assert without_logs(report) == report


def test_the_gpu_table_says_what_failed_and_shows_no_log() -> None:
    step = {"ms_per_step": 177.23, "peak_gib": {"allocated": 15.76}, "says": ["/root"], "fast": True, "cores": 16}
    found = {"step": step, "part_failed": "ValueError: a|b\nTraceback /root", "log_end": "/root", "failed": "killed after 9 s"}
    report = without_logs({"commit": "abc", "sections": {"steps": found, "next": {"skipped": "no GPU"}}})
    table = gpu_markdown(report["sections"])
    assert "| `steps` | step | ms_per_step 177, peak_gib (allocated 15.8), fast yes, cores 16 |" in table
    assert "| `steps` | failed | killed after 9 s |" in table and "| `next` | skipped | no GPU |" in table
    assert "| `steps` | part_failed | ValueError: a/b |" in table and "/root" not in table
    assert "log_end" not in report["sections"]["steps"] and "Traceback" not in report["sections"]["steps"]["part_failed"]


def test_every_network_has_a_row() -> None:
    records, facts = json.loads(zoo.RESULTS.read_text()), yaml.safe_load(zoo.FACTS.read_text())
    assert set(records) == set(facts) == set(ENTRIES)
    assert zoo.table(records, facts) in zoo.PAGE.read_text()
