"""The anatomy that most images of a data set share, and how far each image's classes are from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from handbone.doctor.labels.alignment import CommonShape, Pose, align, common_shape
from handbone.doctor.labels.drawing import Bools, Complexes, Drawing, Floats, Measures, centre_and_area
from handbone.doctor.labels.positions import Expectation, Positions
from handbone.doctor.labels.shapes import Shapes
from handbone.masks.rasterize import Polygon

MIN_CLASSES = 4  # that an image must show, and
MIN_IMAGES = 12  # that must show a class, before anything is said about them
POSITION, SIZE, FORM = 2.5, 2.5, 2.5  # limits, in usual deviations: so many times as far as 95 % of the images go

SHIFT = 0.35  # of a class's size (the root of its area): a smaller shift is a bent joint rather than a wrong label


@dataclass(frozen=True)
class Anatomy:
    """What is usual. Everything is of N images and those C classes that enough images show.

    drawings, measures, poses: of the images; placed: (N, C) centres in the common frame.
    """

    drawings: Sequence[Drawing]
    measures: Measures
    shape: CommonShape
    poses: Pose
    placed: Complexes
    positions: Positions
    shapes: Shapes

    @cached_property
    def sizes(self) -> Floats:
        """(C,) the usual root of a class's area, in the common frame."""
        return np.asarray(np.exp(self.shapes.log_areas / 2))

    @cached_property
    def neighbours(self) -> NDArray[np.int64]:
        """(C, C - 1) the other classes of each, the nearest first."""
        distances = abs(self.shape.centres[:, None] - self.shape.centres)
        return np.argsort(distances, axis=1)[:, 1:]

    def apart(self, number: int, expectation: Expectation) -> Floats:
        """(3, C) how far an image's classes are from usual position, size and form, in units of the limits; NaN where absent."""
        position = self._position(self.placed[number], expectation)
        return np.stack([position, self.shapes.size[number] / SIZE, self.shapes.form[number] / FORM])

    def as_each_class(self, number: int, polygons: Sequence[Polygon], expectation: Expectation) -> Floats:
        """(3, C) the same for polygons of one image, if they were those of class c."""
        pose, (centre, area) = self.poses.of(number), centre_and_area(polygons)
        at = pose.apply(np.array([[centre]]))[0, 0]
        size, form = self.shapes.compare(polygons, centre, area, pose)
        return np.stack([self._position(np.full(len(self.sizes), at), expectation), size / SIZE, form / FORM])

    def _position(self, points: Complexes, expectation: Expectation) -> Floats:
        """(C,) how far the points are from the expected places: in usual deviations or in sizes of the class, whichever is less."""
        shifts = abs(points - expectation.centres) / (SHIFT * self.sizes)
        return np.asarray(np.minimum(expectation.distances(points) / self.positions.usual / POSITION, shifts))


def learn(drawings: Sequence[Drawing], measures: Measures, trusted: Bools) -> Anatomy:
    """The anatomy of the (N,) trusted drawings, and how all of them fit it.

    Each shows MIN_CLASSES classes or more, and MIN_IMAGES of the trusted ones show each class.
    """
    shape = common_shape(measures.centres[trusted])
    poses = align(measures.centres, shape)
    placed = poses.apply(measures.centres)
    return Anatomy(drawings, measures, shape, poses, placed, Positions(placed[trusted]), Shapes(drawings, measures, poses, trusted))
