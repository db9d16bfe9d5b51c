"""Writes crf_reference.npz: marginals computed by the code of densecrf's authors. Its package needs a compiler, so it is no dependency.

uv run --no-project --with numpy --with pydensecrf2==1.1 python tests/inference/crf_reference.py
"""

from pathlib import Path

import numpy as np
import pydensecrf.densecrf as dcrf

HEIGHT, WIDTH = 36, 48
ITERATIONS = 5
GAUSSIAN = {"sxy": 3, "compat": 1.5}
BILATERAL = {"sxy": 12, "srgb": 20, "compat": 2.5}


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A coloured image of a disc, with noise, and rough logits of it: shifted, a quarter of them of the wrong sign."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disc = np.hypot(y - 17, x - 22) < 11
    image = np.where(disc[..., None], (150, 120, 90), (90, 100, 110)) + rng.normal(0, 8, (HEIGHT, WIDTH, 3))
    logits = np.where(np.roll(disc, 4, 1) ^ (rng.random(disc.shape) < 0.25), 1, -1) * rng.uniform(0.5, 1.5, disc.shape)
    return image.clip(0, 255).astype(np.uint8), logits.astype(np.float32)


def marginals(image: np.ndarray, logits: np.ndarray, gaussian: bool, bilateral: bool) -> np.ndarray:
    """The probability of the second of two labels, (h, w)."""
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 2)
    crf.setUnaryEnergy(np.logaddexp(0, np.stack([logits, -logits])).reshape(2, -1))  # -log of the probabilities
    if gaussian:
        crf.addPairwiseGaussian(**GAUSSIAN)
    if bilateral:
        crf.addPairwiseBilateral(rgbim=image, **BILATERAL)
    return np.array(crf.inference(ITERATIONS))[1].reshape(HEIGHT, WIDTH)


if __name__ == "__main__":
    image, logits = scene()
    np.savez_compressed(
        Path(__file__).with_name("crf_reference.npz"),
        image=image,
        logits=logits,
        gaussian=marginals(image, logits, True, False),
        bilateral=marginals(image, logits, False, True),
        both=marginals(image, logits, True, True),
    )
