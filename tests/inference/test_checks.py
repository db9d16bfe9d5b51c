"""Checks of what networks return."""

import numpy as np
import pytest
import torch
from torch import Tensor

from handbone.inference.checks import LogitCheck, MapCheck, not_finite
from handbone.masks.cropped_maps import CroppedMaps


def identity(images: Tensor) -> Tensor:
    return images


def faults(*batches: Tensor) -> list[str]:
    """The places after a good model and one that returns these batches."""
    check = LogitCheck()
    good, tried = check.watch("good", identity), check.watch("tried", identity)
    for batch in batches:
        assert torch.equal(good(torch.ones(1, 1, 2, 2)), torch.ones(1, 1, 2, 2)) and tried(batch) is batch
    return [problem.place for problem in not_finite(*check.take(), ["a", "b"])]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_logit_that_is_not_finite_names_its_model(value: float, dtype: torch.dtype) -> None:
    logits = torch.zeros(2, 3, 4, 5, dtype=dtype)
    assert faults(logits) == []
    logits[1, 2, 3, 4] = value
    assert faults(logits) == ["tried"]
    assert faults(torch.zeros(1), logits, torch.zeros(1)) == ["tried"]


def test_infinities_that_cancel_are_found() -> None:
    assert faults(torch.tensor([torch.inf, -torch.inf])) == ["tried"]


def test_large_logits_are_finite() -> None:
    """In half precision their sum would not be."""
    assert faults(torch.full((1, 8, 64, 64), 60000.0, dtype=torch.float16)) == []


def test_each_batch_is_reported_once() -> None:
    check = LogitCheck()
    check.watch("tried", identity)(torch.tensor([torch.nan]))
    assert not_finite(*check.take(), ["a"]) and not not_finite(*check.take(), ["b"])


def test_a_batch_names_its_samples() -> None:
    (problem,) = not_finite(["m", "m"], torch.tensor([torch.nan, torch.inf]), ["a"])
    assert "sample a" in problem.found
    (problem,) = not_finite(["m"], torch.tensor([torch.nan]), ["a", "b", "c"])
    assert "a to c" in problem.found


def report(*images: list[int], capsys: pytest.CaptureFixture[str]) -> str:
    """The warning for images of one pixel with these probabilities of two classes."""
    check = MapCheck(["one", "two"])
    for values in images:
        check.add(CroppedMaps.from_dense(np.array(values, np.uint8)[:, None, None]))
    check.report("data/predictions/test")
    return capsys.readouterr().err


def test_probabilities_of_0_and_1_alone_are_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert "only 0 and 1 in all 2 images" in report([0, 255], [255, 0], capsys=capsys)
    assert "only 0 and 1 in all 1 images" in report([0, 0], capsys=capsys)
    assert report([0, 255], [254, 0], capsys=capsys) == ""


def test_a_class_without_any_probability_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    text = report([3, 0], [200, 0], capsys=capsys)
    assert text.startswith("WARNING: data/predictions/test: two:") and len(text.splitlines()) == 1


def test_no_image_is_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys=capsys) == ""


def test_processes_report_what_all_have_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of them lacks a class, and one has seen no probability between 0 and 1."""
    first, second = MapCheck(["one", "two"]), MapCheck(["one", "two"])
    first.add(CroppedMaps.from_dense(np.array([[[255]], [[0]]], np.uint8)))
    second.add(CroppedMaps.from_dense(np.array([[[0]], [[7]]], np.uint8)))
    first.join(second)
    first.report("data/predictions/test")
    assert capsys.readouterr().err == ""
    empty = MapCheck(["one", "two"])
    empty.join(MapCheck(["one", "two"]))
    empty.report("data/predictions/test")
    assert capsys.readouterr().err == ""
