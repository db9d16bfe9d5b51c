"""What is written as params.yaml reads back equal, by every reader of YAML that has to do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from handbone.cli.params_yaml import params_text
from handbone.config.params import Params, load_params, parse_params

CLASSES = [
    "11",
    "no",
    "on",
    "1e-3",
    "0x1F",
    "010",
    "1_000",
    "null",
    "~",
    "",
    " a",
    "a: b",
    "a #b",
    "- c",
    "'",
    '"',
    "Müller",
    "2024-01-01",
    "<<",
]
CHANGES: list[dict[str, Any]] = [
    {},
    {"data": {"classes": CLASSES, "exclude": CLASSES}},
    {"train": {"lr": 1e-5, "weight_decay": 1e16, "loss": {"dice": [[1, 0.0], [20, 1e-7]]}, "class_weights": {}}},
    {"data": {"classes": CLASSES, "mirror": {"11": "no", "1e-3": "010", "a: b": "<<"}}},
    {"train": {"augment": [{"OneOf": {"p": 0.5, "transforms": [{"GaussNoise": {}}, {"Blur": {"blur_limit": [3, 5]}}]}}]}},
    {"train": {"augment": "strong", "oversample": {"sex=f": 2.0, "Ulna": 0.5}}},
    {"model": {"options": {"Unet": {"a": None, "b": [1, [2.0, "3"]], "c": {}, "d": [], "e": float("inf")}}, "encoder": None}},
    {"infer": {"crf": {"iterations": 3}, "window_size": 64, "window_stride": 32}},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_what_is_written_reads_back_equal(tmp_path: Path, changes: dict[str, Any]) -> None:
    params = parse_params(changes, "changes")
    path = tmp_path / "params.yaml"
    path.write_text(params_text(params, "header"), encoding="utf-8")
    assert load_params(path) == params
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == params.model_dump()
    assert YAML(typ="safe", pure=True).load(path) == params.model_dump()  # DVC's reader


def test_every_key_has_its_description_in_one_column() -> None:
    lines = params_text(Params(), "header").splitlines()
    assert lines[0] == "# header"
    keys = [line for line in lines if line[:1].isalpha() or (line.startswith("  ") and line[2].isalpha() and "p: " not in line)]
    assert all("  # " in line for line in keys)
    assert {line.index("#") for line in keys} == {28}
    assert max(map(len, lines)) <= 140


def test_values_are_in_block_style_as_dvc_writes_them() -> None:
    text = params_text(parse_params({"train": {"loss": {"dice": [[1, 0.5], [2, 1.0]]}}}, "changes"), "header")
    assert "    dice:\n    - - 1.0\n      - 0.5\n" in text
