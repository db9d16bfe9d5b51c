"""Pretrained weights: from a file, from a package that carries them, or downloaded. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.hub import get_dir, load_state_dict_from_url

from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

IMAGENET = "imagenet"
State = dict[str, Tensor]


def read_weights(path: str | Path) -> State:
    """A safetensors file, or a state dict that torch saved; a `UserError` for anything else."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"model.weights: expected none, imagenet or a file; found no file {path}; put it there, or name another")
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, pickle and zip each raise their own for a file that is none of theirs
        raise UserError(f"{path}: expected safetensors or a state dict of tensors; found {str(error)[:200]}; save it as one") from error
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not found or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise UserError(f"{path}: expected a state dict, names and tensors; found {type(found).__name__}; save model.state_dict() alone")
    return dict(found)


def downloaded(url: str) -> State:
    """The state dict at `url`, from torch's cache where it is there already; a `UserError` says how to fetch it without a connection."""
    name = url.rsplit("/", 1)[-1]
    try:
        state: State = load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        folder = Path(get_dir()) / "checkpoints"
        raise UserError(
            f"model.weights: expected to download {url}; found {error}; fetch it elsewhere and put it into {folder} as {name}, "
            f"or into weights/ and set model.weights={name}, or set model.weights=none"
        ) from error
    return state


def load_into(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load all of `state`, strictly; a first convolution of one channel takes the sum over RGB. A `UserError` lists all misfits.

    Batch norm's counts of batches may be missing: files from before torch 0.4.1 have none.
    """
    own = module.state_dict()
    state = {name: tensor for name, tensor in own.items() if name.endswith("num_batches_tracked")} | dict(state)
    folded = {name: _folded(tensor, own[name]) if name in own else tensor for name, tensor in state.items()}
    problems = [Problem(f"{where}: {name}", "to be there", "nothing", nearest(name, list(state))) for name in own if name not in state]
    problems += [
        Problem(f"{where}: {name}", "a part of the network", "an unknown name", nearest(name, list(own)))
        for name in state
        if name not in own
    ]
    problems += [
        Problem(f"{where}: {name}", f"shape {tuple(own[name].shape)}", f"{tuple(tensor.shape)}", "use the weights of this very network")
        for name, tensor in folded.items()
        if name in own and tensor.shape != own[name].shape
    ]
    raise_if_any(problems, "model.weights do not fit the network")
    module.load_state_dict(folded)


def _folded(tensor: Tensor, own: Tensor) -> Tensor:
    """(out, 3, k, k) -> (out, 1, k, k), where that is what fits: what a grey image gives, repeated over RGB."""
    if tensor.dim() == 4 and tensor.shape[1] == 3 and own.shape[1:2] == (1,):
        return tensor.sum(1, keepdim=True)
    return tensor
