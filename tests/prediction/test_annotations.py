"""Annotations of predicted masks are the masks, to the pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from handbone.dataset.annotation import check_annotations
from handbone.masks.boxed import BoxedMasks
from handbone.masks.rasterize import rasterize
from handbone.masks.runs import RunLengthMasks
from handbone.prediction.annotations import coco_annotations, json_annotations

CLASSES = ["Radius", "Ulna"]
MASKS = st.tuples(st.just(2), st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: arrays(bool, shape))


@settings(deadline=None)
@given(MASKS)
def test_the_json_is_painted_as_the_masks(masks: np.ndarray) -> None:
    annotations = json_annotations(RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks)), CLASSES)
    polygons, problems = check_annotations("x.json", annotations, CLASSES, masks.shape[1:], allow_missing=True)
    assert not problems
    assert np.array_equal(rasterize(polygons, masks.shape[1:]).dense(), masks)


@settings(deadline=None)
@given(MASKS)
def test_coco_has_the_masks_their_areas_and_boxes(masks: np.ndarray) -> None:
    annotations = {one["category_id"]: one for one in coco_annotations(RunLengthMasks.from_boxed(BoxedMasks.from_dense(masks)))}
    for number, mask in enumerate(masks, start=1):
        if not mask.any():
            assert number not in annotations
            continue
        found = annotations[number]
        assert np.array_equal(coco.decode(found["segmentation"]), mask)
        assert found["area"] == mask.sum() and found["bbox"] == coco.toBbox(found["segmentation"]).tolist()
