"""Training images on the page: spread over the data, each augmented with other random numbers, the same each time."""

from __future__ import annotations

import re

from handbone.cache.sample import CachedSample
from handbone.masks.packed import PackedMasks
from handbone.report.previews import previews_section
from small_page import SHAPE, shown, small_params


def test_previews_are_spread_over_the_data_and_the_same_each_time() -> None:
    keys, sample, params = (
        [f"ID00{number}/x" for number in range(6)],
        CachedSample(shown(1).image, SHAPE, PackedMasks.pack(shown(1).truth)),
        small_params(),
    )
    asked = list[str]()
    body = previews_section(keys, lambda key: asked.append(key) or sample, params).body
    assert asked == ["ID000/x", "ID002/x", "ID004/x"]
    assert len(set(re.findall('src="([^"]+)"', body))) == 3, "each has other random numbers"
    assert previews_section(keys, lambda key: sample, params).body == body
    assert previews_section(keys, lambda key: sample, params.model_copy(update={"seed": params.seed + 1})).body != body
