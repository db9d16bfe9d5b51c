"""What GPUs can do, for machines that are not at hand."""

from __future__ import annotations

from dataclasses import dataclass

from handbone.utils.errors import Problem, UserError, nearest

GIB = 2**30
SHARE_SEEN = 0.97  # of the memory in a card's name, what PyTorch sees of it


@dataclass(frozen=True)
class Card:
    """One GPU.

    memory: bytes that PyTorch sees, which are fewer than the name says; half, single: floating-point operations per second of matrices, in
    16 bits with sums in 32, and in 32 bits; bandwidth: bytes per second of its memory. The speeds are peaks; null: unknown.
    """

    name: str
    memory: float
    half: float | None = None
    single: float | None = None
    bandwidth: float | None = None


# name: GiB, TFLOP/s in 16 and in 32 bits without sparsity, GB/s: NVIDIA's data sheets (for GeForce the white papers of the architectures);
# the memory is what PyTorch reports
_CARDS = {
    "t4": (14.6, 65, 8.1, 320),
    "v100": (15.8, 125, 15.7, 900),
    "v100-32": (31.7, 125, 15.7, 900),
    "3090": (23.6, 71, 35.6, 936),
    "4090": (23.6, 165, 82.6, 1008),
    "5090": (31.4, 209, 105, 1792),
    "a10": (22.1, 125, 31.2, 600),
    "l4": (22.0, 121, 30.3, 300),
    "a6000": (47.4, 155, 38.7, 768),
    "l40s": (44.4, 362, 91.6, 864),
    "a100-40": (39.4, 312, 19.5, 1555),
    "a100": (79.2, 312, 19.5, 2039),
    "h100": (79.2, 989, 67, 3350),
    "h200": (139.8, 989, 67, 4800),
}
CARDS = {name: Card(name, gib * GIB, half * 1e12, single * 1e12, speed * 1e9) for name, (gib, half, single, speed) in _CARDS.items()}


def card_named(name: str) -> Card:
    """The card of that name, in upper or lower case. Raises `UserError` (`plan.card`) for an unknown one."""
    if name.lower() not in CARDS:
        fix = f"{nearest(name, list(CARDS))}; or give its memory with --gpu-gb"
        raise UserError(Problem("plan.card", "--gpu", "the name of a card", repr(name), fix))
    return CARDS[name.lower()]


def card_of_memory(gb: float) -> Card:
    """A card of which only the memory is known, in GB as its name says. Raises `UserError` (`plan.card`) unless `gb` is above 1."""
    if not 1 < gb < 10_000:
        raise UserError(
            Problem("plan.card", "--gpu-gb", "the memory of a GPU in GB, above 1", str(gb), "give it as its name says, e.g. 24")
        )
    return Card(f"a card of {gb:g} GB", gb * SHARE_SEEN * GIB)
