"""Small pictures for imports."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_picture(path: Path, height: int = 30, width: int = 40, seed: int = 0, **options: object) -> np.ndarray:
    """A grey picture of noise, in the format of the suffix -> its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return pixels
