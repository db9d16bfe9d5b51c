"""What leaves the device."""

import torch

from handbone.inference.quantise import quantise, to_uint8


def test_probabilities_are_rounded() -> None:
    probabilities = torch.tensor([0, 0.4 / 255, 0.6 / 255, 0.5, 1])
    assert quantise(probabilities).tolist() == [0, 0, 1, 128, 255]


def test_on_a_cpu_logits_stay_what_they_are() -> None:
    logits = torch.randn(2, 5, 17, 23)
    assert torch.equal(to_uint8(logits), logits)
    half = to_uint8(logits.bfloat16())
    assert half.dtype == torch.float32 and torch.equal(half, logits.bfloat16().float())
