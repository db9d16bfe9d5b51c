"""The phantom's files, in the competition's layout with its pitfalls; the test set's truth is separate, in `test_truth`."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handbone.config.params import PhantomParams
from handbone.phantom.anatomy import hand_outlines, hand_polygons, random_person, random_pose
from handbone.phantom.render import random_look, render_xray
from handbone.utils.io import write_bytes, write_text
from handbone.utils.parallel import map_samples

SIDES = "RL"  # the right hand comes first by name
FIRST_IMAGE, IMAGE_STEP = 1661130828152, 48_611
CLAIMED_SIDE = 3060  # the size that the real annotations give for every image, even for those of 2048 px

TRAIN, TEST = 0, 1
IMAGES = ("train/DCM", "test/DCM")
ANNOTATIONS = ("train/outputs_json", "test_truth/outputs_json")
PEOPLE = "train/people.csv"  # of both subsets


@dataclass(frozen=True)
class _Task:
    root: Path
    size: int
    seed: tuple[int, int, int]  # the data set's seed, the subset, the person's place in it
    number: int  # through both subsets, starting at 1
    bent: bool

    @property
    def person(self) -> str:
        return f"ID{self.number:03d}"


def write_phantom(params: PhantomParams, root: Path, workers: int | None) -> None:
    """Write two images (`params.size` pixels square) and annotations per person, and train/people.csv, below `root`.

    workers: processes; None: one per core.
    """
    tasks = _tasks(params, root)
    map_samples(_write_person, tasks, workers, "phantom", "person")
    rows = [f"{task.person},{'bent' if task.bent else 'straight'}\n" for task in tasks]
    write_text(root / PEOPLE, "".join(["person,wrist\n", *rows]))


def bent_people(params: PhantomParams, subset: int) -> frozenset[int]:
    """The places (0, 1, ...) of the people with a bent wrist in the subset TRAIN or TEST."""
    people, share = ((params.train_people, params.bent_train), (params.test_people, params.bent_test))[subset]
    order = np.random.default_rng([params.seed, subset]).permutation(people)
    return frozenset(order[: round(share * people)].tolist())


def _tasks(params: PhantomParams, root: Path) -> list[_Task]:
    places = [(TRAIN, place) for place in range(params.train_people)] + [(TEST, place) for place in range(params.test_people)]
    bent = [bent_people(params, subset) for subset in (TRAIN, TEST)]
    return [
        _Task(root, params.size, (params.seed, subset, place), number, place in bent[subset])
        for number, (subset, place) in enumerate(places, start=1)
    ]


def _write_person(task: _Task) -> None:
    """Write the images and annotations of one person."""
    rng = np.random.default_rng(task.seed)
    person, look = random_person(rng, task.bent), random_look(rng)
    for index, side in enumerate(SIDES):
        outlines = hand_outlines(person, random_pose(rng), mirrored=side == "L")
        grey = render_xray(outlines, task.size, look, side, rng)
        stem = _stem(task.number, index)
        _write_image(_file(task, IMAGES, f"{stem}.png"), grey)
        _write_annotation(_file(task, ANNOTATIONS, f"{stem}.json"), hand_polygons(outlines, task.size), rng)


def _stem(number: int, index: int) -> str:
    digits = FIRST_IMAGE + IMAGE_STEP * (len(SIDES) * (number - 1) + index)
    return f"image{digits}" + (f"_{SIDES[index]}" if number == 1 else "")


def _file(task: _Task, folders: tuple[str, str], name: str) -> Path:
    return task.root / folders[task.seed[1]] / task.person / name


def _write_image(path: Path, grey: NDArray[np.uint8]) -> None:
    ok, png = cv2.imencode(".png", cv2.merge([grey] * 3))
    if not ok:
        raise RuntimeError(f"{path}: OpenCV could not encode the image")
    write_bytes(path, png.tobytes())


def _write_annotation(path: Path, polygons: dict[str, NDArray[np.int32]], rng: np.random.Generator) -> None:
    labels = list(polygons)
    shuffled = [labels[place] for place in rng.permutation(len(labels))]
    annotations = [_annotation(number, label, polygons[label], rng) for number, label in enumerate(shuffled, start=1)]
    document = {
        "annotations": annotations,
        "attributes": {},
        "file_id": _identifier(rng),
        "filename": f"{path.stem}.jpg",
        "metadata": {"height": CLAIMED_SIDE, "width": CLAIMED_SIDE},
    }
    write_text(path, json.dumps(document))


def _annotation(number: int, label: str, points: NDArray[np.int32], rng: np.random.Generator) -> dict[str, Any]:
    identifier = f"{number}-{_identifier(rng)}"
    return {"id": identifier, "type": "poly_seg", "attributes": {}, "points": points.tolist(), "label": label}


def _identifier(rng: np.random.Generator) -> str:
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))
