"""Where networks look in chosen images: a picture per class, and a page of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handbone.cache.resize import UInt8Image
from handbone.evaluation.dice import count, dice
from handbone.inference.predictor import probabilities
from handbone.masks.packed import PackedMasks
from handbone.masks.runs import RunLengthMasks
from handbone.prediction.cam.drawing import draw_heat
from handbone.prediction.cam.grad_cam import grad_cam, relative
from handbone.prediction.cam.layers import Layer, choose_layer
from handbone.prediction.cam.page import Explained, Heat, cam_page
from handbone.prediction.model import Model, Prepared
from handbone.report.figures import jpeg_data_uri
from handbone.utils.errors import Problem, UserError
from handbone.utils.io import new_folder, write_bytes, write_text

SHOWN = 3  # classes of an image, if none are named
PAGE = "index.html"


@dataclass(frozen=True)
class Case:
    """An image to explain. model: has the networks that are asked; prepared: its key is a path without suffix, for the files.

    picture: (h, w) or (h, w, 3), of any size; truth: at full resolution, None if it is not known.
    """

    model: Model
    prepared: Prepared[str]
    picture: UInt8Image
    truth: PackedMasks | None


def write_cams(cases: Iterable[Case], out: Path, classes: Sequence[str], layer: str | None) -> int:
    """Write a picture per image and class, and the page of all, into the new folder `out` -> how many pictures there are.

    classes: names; without any, of each image those with the lowest Dice or, without truth, those that the networks are least certain of.
    layer: its name in the network; None: as `choose_layer` finds it.
    Raises `UserError` if `out` exists (`cam.target`), and for a layer that the network does not have (`cam.layer`).
    """
    if out.exists():
        raise UserError(Problem("cam.target", str(out), "a path that does not exist yet", "a file or folder", "give another name"))
    with new_folder(out) as folder:
        explained = [_explain(case, folder, classes, layer) for case in cases]
        write_text(folder / PAGE, cam_page(explained))
    return sum(len(image.heats) for image in explained)


def _explain(case: Case, folder: Path, names: Sequence[str], layer: str | None) -> Explained:
    networks, key = case.model.networks, case.prepared.key
    image = case.prepared.pixels[None].to(next(iter(networks.values())).mean.device).float() / 255
    layers = {fold: choose_layer(network, image, layer) for fold, network in networks.items()}
    heats = []
    for heat, picture in _heats(case, image, layers, names):
        encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        write_bytes(folder / key / f"{heat.label}.png", encoded.tobytes())
        heats.append(heat)
    first = next(iter(layers.values()))
    plural = "s" if len(layers) > 1 else ""
    folds = f"network{plural} of fold{plural} {', '.join(map(str, layers))}"
    return Explained(key, "{}, layer {}, a map of {} x {}".format(folds, first.name, *first.shape), heats)


def _heats(case: Case, image: Tensor, layers: dict[int, Layer], names: Sequence[str]) -> Iterator[tuple[Heat, UInt8Image]]:
    model, classes = case.model, case.model.classes
    exclusive = model.decision.exclusive
    thresholds = np.broadcast_to(0.5 if exclusive else model.decision.thresholds(), len(classes))
    ((_, predicted),) = model.masks([case.prepared])
    scores = None if case.truth is None else dice(count(predicted, RunLengthMasks.from_packed(case.truth), exclusive))
    truth, masks = None if case.truth is None else case.truth.unpack(), predicted.boxed()
    worst = _certainty(model, image, thresholds) if scores is None else scores
    for label in [classes.index(name) for name in names] or np.argsort(worst, kind="stable")[:SHOWN].tolist():
        logit = float(np.log(thresholds[label] / (1 - thresholds[label])))
        raised = [grad_cam(model.networks[fold], each, image, label, logit, exclusive) for fold, each in layers.items()]
        heat = relative(np.sum(raised, axis=0))
        picture = draw_heat(case.picture, heat, truth and truth.only([label]), masks.only([label]))
        score, remark = None if scores is None else float(scores[label]), "" if heat.any() else "no place of this layer raises its logits"
        yield Heat(classes[label], jpeg_data_uri(picture), score, remark), picture


@torch.no_grad()
def _certainty(model: Model, image: Tensor, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C,) the mean probability of each class in the pixels where it is found; 0 for a class that is not."""
    logits = torch.stack([network(image)[0] for network in model.networks.values()])
    probs = probabilities(logits, model.decision.exclusive).mean(0).flatten(1).cpu().double().numpy()
    found = probs > thresholds[:, None]
    return np.asarray((probs * found).sum(1) / np.maximum(found.sum(1), 1))
