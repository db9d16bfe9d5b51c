"""Pretrained weights as others publish them: where they lie on Hugging Face, with a classifier on top."""

from __future__ import annotations

from collections.abc import Mapping

from timm.models import load_state_dict_from_hf
from torch import Tensor

from handbone.models.pretrained import State
from handbone.utils.errors import UserError

FILE = "model.safetensors"


def hub_url(repo: str, revision: str = "main", file: str = FILE) -> str:
    """The address of one file of a Hugging Face repo."""
    return f"https://huggingface.co/{repo}/resolve/{revision}/{file}"


def by_hand(url: str, name: str) -> str:
    """What to do where `url` cannot be reached."""
    return f"fetch {url} elsewhere, put it into weights/ as {name} and set model.weights={name}, or set model.weights=none"


def from_hub(repo: str) -> State:
    """The state dict of a Hugging Face repo, from its cache where it is there already; a `UserError` says how to fetch it by hand."""
    try:
        state: State = load_state_dict_from_hf(repo, filename=FILE)
    except Exception as error:  # no connection, no such repo, a broken file: the hub's client and safetensors each raise their own
        advice = by_hand(hub_url(repo), f"{repo.split('/')[-1]}.safetensors")
        raise UserError(
            f"model.weights: expected to download {repo}; found {type(error).__name__}: {str(error)[:200]}; {advice}"
        ) from error
    return state


def headless(state: Mapping[str, Tensor], heads: tuple[str, ...]) -> State:
    """`state` without what begins like one of `heads`."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(heads)}
