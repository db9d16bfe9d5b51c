"""What the network is trained on: a few images with their targets, and augmented versions of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from handbone.cache.sample import CachedSample
from handbone.config.params import Params, mirrored_classes
from handbone.report.augmentation_preview import preview_strip
from handbone.report.figures import jpeg_data_uri
from handbone.report.html import Section, note
from handbone.training.data.augment import Augmenter

PREVIEWS, VERSIONS = 3, 3  # training images on the page, and augmented versions of each


def previews_section(keys: Sequence[str], read: Callable[[str], CachedSample], params: Params) -> Section:
    """A few of the training images, evenly spread over `keys`, as the parameters augment them."""
    augmenter = Augmenter(params.train.augment, params.model.in_channels)
    mirrored = mirrored_classes(params.data.classes, params.data.mirror)
    shown = [keys[place * len(keys) // PREVIEWS] for place in range(min(PREVIEWS, len(keys)))]
    seeds = [np.random.SeedSequence([params.seed, row]).generate_state(VERSIONS).tolist() for row in range(len(shown))]
    strips = [preview_strip(read(key), augmenter, params.train.size, row, mirrored) for key, row in zip(shown, seeds, strict=True)]
    figures = "\n".join(
        f'<figure><img src="{jpeg_data_uri(strip)}" alt="{escape(key)} and augmented versions of it">'
        f"<figcaption>{escape(key)}</figcaption></figure>"
        for key, strip in zip(shown, strips, strict=True)
    )
    text = "Left: the image at the network’s size. Right: augmented versions of it. Colours: the training target, one hue per class."
    return Section("Training images and targets", f'<div class="previews">\n{figures}\n</div>' + note(text))
