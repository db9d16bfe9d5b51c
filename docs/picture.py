"""The README's picture docs/demo.jpg: a test image, its true bones, and the predicted bones with their errors.

Run in the repository's root after `make demo`:

    python docs/picture.py docs/demo.jpg

docs/report.jpg is the top of the demo's report page, also after `make demo`:

    chromium --headless --hide-scrollbars --window-size=1200,1000 --screenshot=report.png reports/index.html
    python -c "import cv2; cv2.imwrite('docs/report.jpg', cv2.imread('report.png'), [cv2.IMWRITE_JPEG_QUALITY, 88])"
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from handbone.cache.sample import read_sample
from handbone.config import paths
from handbone.config.params import load_params
from handbone.dataset.annotation import read_polygons
from handbone.dataset.layout import truth_file
from handbone.evaluation.decision import Decision, decide
from handbone.evaluation.dice import mean_dice, with_dice
from handbone.evaluation.members import maps_of
from handbone.evaluation.overlay import overlay
from handbone.masks.boxed import BoxedMasks
from handbone.masks.rasterize import rasterize
from handbone.utils.io import read_table

SIDE = 640  # pixels of each of the three panels


def coloured(image: np.ndarray, masks: BoxedMasks) -> np.ndarray:
    """(H, W) uint8 and C masks -> (H, W, 3) RGB with each mask in another colour, overlaps mixed."""
    picture = np.repeat(image[..., None], 3, 2).astype(np.float32)
    colours = matplotlib.colormaps["turbo"](np.arange(len(masks.crops)) * 0.382 % 0.9 + 0.05)[:, :3] * 255  # neighbours in the list differ
    for colour, (y0, x0, y1, x1), crop in zip(colours, masks.boxes, masks.crops, strict=True):
        region = picture[y0:y1, x0:x1]
        region[crop] = 0.45 * region[crop] + 0.55 * colour
    return picture.astype(np.uint8)


def main() -> None:
    """Write the picture of the test image whose Dice is the median."""
    params = load_params()
    counts = with_dice(read_table(paths.TEST_COUNTS))
    ranked = counts.groupby("key")["dice"].mean().sort_values(kind="stable")
    key = str(ranked.index[len(ranked) // 2])
    sample = read_sample(paths.cached_sample("test", key))
    polygons, _ = read_polygons(truth_file(Path(params.data.root), key), params.data.classes, sample.shape, params.data.allow_missing)
    truth = rasterize(polygons, sample.shape)
    decision = Decision.load(paths.DECISION, params.data.classes, *paths.DECIDED_WITH)
    maps = [
        maps_of(paths.prediction_record("test", name), paths.prediction("test", key, name), params.data.classes) for name in decision.names
    ]
    predicted = decide(maps, sample.shape, decision).boxed()
    image = cv2.resize(sample.image, sample.shape[::-1]).astype(np.uint8, copy=False)
    panels = [np.repeat(image[..., None], 3, 2), coloured(image, truth), overlay(image, truth, predicted, params.data.classes, SIDE)]
    row = np.hstack([cv2.resize(panel, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for panel in panels])
    cv2.imwrite(sys.argv[1], row[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"{key}: Dice {ranked[key]:.4f} (mean of the test set {mean_dice(counts):.4f})")


if __name__ == "__main__":
    main()
