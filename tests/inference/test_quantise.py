"""What leaves the device is 255 times the probability, rounded."""

import numpy as np
import torch

from handbone.inference.quantise import FAINTEST, quantise, quantise_logits


def exact(logits: torch.Tensor) -> np.ndarray:
    """255 times the probability in float64, not rounded."""
    return 255 / (1 + np.exp(-logits.double().numpy()))


def test_probabilities_are_rounded() -> None:
    probabilities = torch.tensor([0, 0.4 / 255, 0.6 / 255, 0.5, 1])
    assert quantise(probabilities).tolist() == [0, 0, 1, 128, 255]


def test_logits_differ_from_the_plain_way_at_ties_alone() -> None:
    """Dense around each of the 255 steps, and over the whole range, with rows of nothing between."""
    ties = torch.special.logit((torch.arange(255, dtype=torch.float64) + 0.5) / 255).float()
    near = (ties[:, None] + torch.linspace(-1e-3, 1e-3, 101)).reshape(1, 1, 255, 101)
    spread = torch.linspace(-30, 30, 255 * 101).reshape(1, 1, 255, 101)
    logits = torch.cat([near, spread, torch.full_like(near, -40), torch.full_like(near, FAINTEST - 1e-5)], 1)
    found, plain = quantise_logits(logits).numpy(), quantise(logits.sigmoid()).numpy()
    value = exact(logits)
    assert np.abs(found - value).max() <= 0.5 + 1e-4
    differing = found != plain
    assert np.abs(value - np.floor(value) - 0.5)[differing].max(initial=0) < 1e-4
    assert not found[:, 2:].any()


def test_random_logits_in_any_layout_and_precision() -> None:
    logits = torch.randn(2, 5, 17, 23) * 6
    expected = quantise_logits(logits)
    assert torch.equal(quantise_logits(logits.contiguous(memory_format=torch.channels_last)), expected)
    half = logits.bfloat16()
    assert torch.equal(quantise_logits(half), quantise_logits(half.float()))
