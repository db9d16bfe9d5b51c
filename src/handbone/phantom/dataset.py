"""The phantom's files, in the competition's layout down to its traps; the test set's truth lies apart, in `test_truth`."""

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
from handbone.phantom.anatomy import draw_person, draw_pose, hand_outlines, hand_polygons
from handbone.phantom.render import draw_look, render_xray
from handbone.utils.parallel import map_samples

SIDES = "RL"  # the right hand is the first by name
FIRST_IMAGE, IMAGE_STEP = 1661130828152, 48_611
CLAIMED_SIDE = 3060  # what the real annotations claim of every image, whatever its size

TRAIN, TEST = 0, 1
PICTURES = ("train/DCM", "test/DCM")
ANNOTATIONS = ("train/outputs_json", "test_truth/outputs_json")


@dataclass(frozen=True)
class _Task:
    root: Path
    size: int
    seed: tuple[int, int, int]  # the data set's, the subset, the person's place in it
    number: int  # through both subsets, from 1
    bent: bool

    @property
    def person(self) -> str:
        return f"ID{self.number:03d}"


def write_phantom(params: PhantomParams, root: Path, workers: int) -> None:
    """Write everybody's two pictures (`params.size` pixels square) and annotations, and people.csv, below `root`; 0 workers: one a core."""
    tasks = _tasks(params, root)
    map_samples(_write_person, tasks, workers, "phantom", "person")
    rows = [f"{task.person},{'bent' if task.bent else 'straight'}\n" for task in tasks]
    (root / "people.csv").write_text("".join(["person,wrist\n", *rows]), encoding="utf-8", newline="\n")


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
    """Write a person's images and annotations."""
    rng = np.random.default_rng(task.seed)
    person, look = draw_person(rng, task.bent), draw_look(rng)
    for index, side in enumerate(SIDES):
        outlines = hand_outlines(person, draw_pose(rng), mirrored=side == "L")
        grey = render_xray(outlines, task.size, look, side, rng)
        stem = _stem(task.number, index)
        _write_picture(_file(task, PICTURES, f"{stem}.png"), grey)
        _write_annotation(_file(task, ANNOTATIONS, f"{stem}.json"), hand_polygons(outlines, task.size), rng)


def _stem(number: int, index: int) -> str:
    digits = FIRST_IMAGE + IMAGE_STEP * (len(SIDES) * (number - 1) + index)
    return f"image{digits}" + (f"_{SIDES[index]}" if number == 1 else "")


def _file(task: _Task, folders: tuple[str, str], name: str) -> Path:
    path = task.root / folders[task.seed[1]] / task.person / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_picture(path: Path, grey: NDArray[np.uint8]) -> None:
    ok, png = cv2.imencode(".png", cv2.merge([grey] * 3))
    if not ok:
        raise RuntimeError(f"{path}: OpenCV could not encode the picture")
    path.write_bytes(png.tobytes())


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
    path.write_text(json.dumps(document), encoding="utf-8")


def _annotation(number: int, label: str, points: NDArray[np.int32], rng: np.random.Generator) -> dict[str, Any]:
    identifier = f"{number}-{_identifier(rng)}"
    return {"id": identifier, "type": "poly_seg", "attributes": {}, "points": points.tolist(), "label": label}


def _identifier(rng: np.random.Generator) -> str:
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))
