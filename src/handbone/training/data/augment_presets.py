"""The presets of `train.augment`: lists of transforms for X-rays of hands.

None turns a hand upside down or by 90 degrees, as no X-ray of the data shows it so. Lengths are shares of the image, so that a preset has
the same effect at any `train.size`; only blur and noise are in pixels, as those of a detector are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Transform = Mapping[str, Mapping[str, Any]]
Preset = Literal["light", "medium", "strong"]


def _pose(degrees: float, scale: float, shift: float, shear: float) -> list[Transform]:
    """Mirror; turn by up to `degrees`, scale by up to the share `scale`, move by up to the share `shift` of a side, shear (degrees)."""
    affine = {
        "rotate": [-degrees, degrees],
        "scale": [1 - scale, 1 + scale],
        "translate_percent": [-shift, shift],
        "shear": [-shear, shear],
        "p": 0.9,
    }
    return [{"HorizontalFlip": {"p": 0.5}}, {"Affine": affine}]


def _exposure(strength: float) -> list[Transform]:
    """Change brightness and contrast by up to the share `strength`."""
    return [{"RandomBrightnessContrast": {"brightness_limit": strength, "contrast_limit": strength, "p": 0.5}}]


def _detector(gamma: float, noise: float, p: float) -> list[Transform]:
    """Imitate another detector: gamma (up to the factor `gamma`), local contrast, blur, noise (standard deviation, 1 is white)."""
    return [
        {"RandomGamma": {"gamma_limit": [100 / gamma, 100 * gamma], "p": 0.5}},  # percent
        {"CLAHE": {"clip_limit": [1.0, 4.0], "p": p}},
        {"GaussianBlur": {"blur_limit": 0, "sigma_limit": [0.3, 1.0], "p": p}},
        {"GaussNoise": {"std_range": [noise / 4, noise], "p": p}},
    ]


PRESETS: dict[Preset, list[Transform]] = {
    "light": _pose(10, 0.1, 0.05, 0) + _exposure(0.2),
    "medium": _pose(20, 0.15, 0.08, 5) + _exposure(0.25) + _detector(1.3, 0.03, 0.2),
    "strong": [
        *_pose(30, 0.2, 0.1, 8),
        {"GridDistortion": {"num_steps": 5, "distort_limit": 0.2, "p": 0.3}},
        *_exposure(0.3),
        *_detector(1.5, 0.05, 0.3),
        {"CoarseDropout": {"num_holes_range": [1, 4], "hole_height_range": [0.05, 0.15], "hole_width_range": [0.05, 0.15], "p": 0.3}},
    ],
}


def transforms(augment: Preset | Sequence[Transform]) -> Sequence[Transform]:
    """The transforms of a preset; a list is returned as it is."""
    return PRESETS[augment] if isinstance(augment, str) else augment
