"""Sizes to choose from, and the parameters of a choice."""

from __future__ import annotations

import pytest

from conftest import Fails
from handbone.config.params import Params
from handbone.planning.candidates import Candidate, candidates, parse_candidate

PARAMS = Params()


def test_whole_images_and_windows_of_the_largest_size_are_offered() -> None:
    names = [str(each) for each in candidates(PARAMS, 1600)]
    assert names == ["256", "384", "512", "768", "1024", "1536", "1600/512", "1600/1024", "1600"]


def test_what_params_yaml_has_is_among_them() -> None:
    current = PARAMS.model_copy(update={"train": PARAMS.train.model_copy(update={"size": 896, "crop": 320})})
    assert Candidate(896, 320) in candidates(current, 2048)
    assert candidates(current, 300) == [Candidate(256), Candidate(300)]  # images are never enlarged


@pytest.mark.parametrize(("text", "size", "crop"), [("1024", 1024, None), ("2048/1024", 2048, 1024), ("100/32", 100, 32)])
def test_a_choice_is_read_as_it_is_shown(text: str, size: int, crop: int | None) -> None:
    candidate = parse_candidate(text, 2048)
    assert (candidate.size, candidate.crop) == (size, crop) and str(candidate) == text


@pytest.mark.parametrize("text", ["", "big", "0", "31", "4096", "1024/", "/512", "512/1024", "1/2/3", "-5", "1024/x"])
def test_anything_else_is_refused(text: str, fails: Fails) -> None:
    with fails("plan.size"):
        parse_candidate(text, 2048)


def test_windows_are_predicted_as_they_are_trained() -> None:
    chosen = Candidate(2048, 1024).applied(PARAMS, 6)
    assert (chosen.train.size, chosen.train.crop, chosen.train.batch_size) == (2048, 1024, 6)
    assert (chosen.infer.window_size, chosen.infer.window_stride) == (1024, 512)
    whole = Candidate(1024).applied(chosen, 8)
    assert (whole.train.crop, whole.infer.window_size, whole.infer.window_stride) == (None, None, None)
    assert whole.model == PARAMS.model
