"""The contract of every network, checked by three small trial runs before hours are spent on it.

Options that are handed to a library, encoders that take images of one size, and a user's own network can break the contract without an
error, or with one that appears only at the size of the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from handbone.models.spec import ModelSpec
from handbone.models.wrapper import SegmentationModel
from handbone.utils.errors import Problem, UserError
from handbone.utils.limits import limit_error

SHORT = 64  # pixels, the short side of the trial images
PROBED = (64, 96, 128, 160, 192, 224, 240, 256, 288, 320, 384, 448, 512)  # sides that are tried to name those that fit
HEAD_SCALE = -(2.0**20)  # logits follow the last layer to any size; what ends in a sigmoid, softmax or tanh stays within -1..1
ACTIVATIONS = (nn.Sigmoid, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.ReLU, nn.ReLU6, nn.Hardsigmoid)


def check_contract(model: SegmentationModel, spec: ModelSpec, side: int) -> None:
    """Run the network on noise: `side` pixels long in both orientations, and small. Nothing of it changes, neither do random streams.

    Raises `UserError` (`model.contract`) unless it returns one tensor of finite logits (N, classes, H, W) that are not bounded.
    """
    short = max(32, min(SHORT, side * 3 // 4))
    with _undisturbed(model):
        for shape in ((1, short, side), (1, side, short), (2, short, SHORT + 32)):
            fault = _fault(model, spec, shape)
            if fault:
                raise UserError(_problem(model, spec, shape, fault))
        if fault := _bound(model, len(spec.classes), short):
            expected, fix = "logits, which a sigmoid turns into probabilities", "remove the activation after the last layer"
            raise UserError(Problem("model.contract", _place(spec), expected, fault, fix))


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards each part has its mode again, and random generators their state."""
    training = {module: module.training for module in model.modules()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, mode in training.items():
                module.training = mode


def _noise(model: SegmentationModel, shape: tuple[int, int, int]) -> Tensor:
    """(N, C_in, H, W) in 0..1, the same in every call."""
    count, height, width = shape
    images = torch.rand(count, len(model.mean), height, width, generator=torch.Generator().manual_seed(0), device="cpu")
    return images.to(model.mean.device)


def _fault(model: SegmentationModel, spec: ModelSpec, shape: tuple[int, int, int]) -> str:
    """What is wrong with the output for images of this shape (N, H, W); empty if nothing is."""
    try:
        logits = model(_noise(model, shape))
    except Exception as error:  # a library raises many types of errors for a size that does not fit
        if limit_error(error) is not None:  # too little memory, which is no fault of the network
            raise
        return f"{type(error).__name__}: {(str(error).splitlines() or ['no text'])[0][:200]}"
    count, height, width = shape
    expected = (count, len(spec.classes), height, width)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        return f"{logits.dtype if isinstance(logits, Tensor) else type(logits).__name__} instead of one tensor of floating-point numbers"
    if logits.shape != expected:
        return f"shape {tuple(logits.shape)} instead of {expected}"
    return "" if logits.isfinite().all() else "NaN or infinity"


def _problem(model: SegmentationModel, spec: ModelSpec, shape: tuple[int, int, int], fault: str) -> Problem:
    """For a fault that depends on the size, the sizes that fit."""
    sides = [side for side in PROBED if not _fault(model, spec, (1, side, side))]
    expected = "logits (N, classes, H, W) for images of any size"
    found = f"for an image of {shape[1]} x {shape[2]} px {fault}"
    if not sides:
        return Problem("model.contract", _place(spec), expected, found, "correct model.options, or choose another network")
    tried = ", ".join(map(str, sides))
    fix = f"images with sides of {tried} px fit (of {PROBED[0]} to {PROBED[-1]}): set train.size or train.crop to one of them"
    other = f"give the encoder another img_size in model.options.{spec.arch} if it has this option, or choose another encoder"
    return Problem("model.contract", _place(spec), expected, found, f"{fix}; or {other}")


def _place(spec: ModelSpec) -> str:
    encoder = f" with encoder {spec.encoder}" if spec.encoder else ""
    return f"params.yaml: model ({spec.arch}{encoder}, options {dict(spec.options)})"


def _bound(model: SegmentationModel, classes: int, side: int) -> str:
    """What bounds the outputs; empty if nothing does."""
    last: list[nn.Module] = []
    hooks = [part.register_forward_hook(lambda part, *_: last.append(part)) for part in model.modules() if not any(part.children())]
    try:
        plain = model(_noise(model, (1, side, side)))
    finally:
        for hook in hooks:
            hook.remove()
    if last and isinstance(last[-1], ACTIVATIONS):
        return f"values that end in {type(last[-1]).__name__}"
    encoder = {name for stage in model.encoder_stages for name in stage}
    heads = {name: part for name, part in model.named_parameters() if name not in encoder and classes in part.shape[:2]}
    scaled = functional_call(model, {name: part * HEAD_SCALE for name, part in heads.items()}, (_noise(model, (1, side, side)),))
    largest = float(scaled.abs().max())
    bounded = 0 < largest <= 1 and bool(plain.any())  # zeros: a last layer that starts from zero
    between = f"{float(scaled.min()):.2g} and {float(scaled.max()):.2g}"
    return f"values that stay between {between}, whatever the last layer's weights" if bounded else ""
