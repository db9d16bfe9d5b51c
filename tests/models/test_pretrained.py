"""Weights files: what does not fit is said in one sentence, and nothing else is read."""

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from conftest import Fails, build
from handbone.models.pretrained import check_finite, is_finite, load_into, read_weights
from handbone.utils.errors import UserError


def network(width: int = 4) -> nn.Module:
    return nn.Sequential(*(nn.Sequential(nn.Conv2d(width, width, 3), nn.BatchNorm2d(width)) for _ in range(4)))


def fault(module: nn.Module, state: dict[str, Tensor]) -> str:
    """The only problem of these weights, whose place is the file."""
    with pytest.raises(UserError) as caught:
        load_into(module, state, "file.pth")
    (problem,) = caught.value.problems
    assert (problem.code, problem.place) == ("weights.mismatch", "file.pth")
    return f"{problem.found}; {problem.fix}"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.encoder."])
def test_a_prefix_of_every_name_is_one_sentence(prefix: str) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in network().state_dict().items()}
    assert f"every name has the prefix {prefix};" in fault(network(), state)


def test_a_prefix_that_every_name_lacks_is_one_sentence() -> None:
    whole = nn.ModuleDict({"backbone": network()})
    assert "every name lacks the prefix backbone.;" in fault(whole, network().state_dict())


def test_a_whole_network_is_one_sentence_that_says_to_name_its_folder() -> None:
    state = build("Unet", "resnet18").state_dict()
    assert "name the folder" in fault(network(), state)


def test_another_architecture_is_one_sentence_with_examples() -> None:
    text = fault(network(), build("Unet", "resnet18").network.state_dict())
    assert "weights of another architecture" in text and len(text) < 400
    assert "another architecture" in fault(network(), network(5).state_dict())


def test_few_faults_are_listed_one_by_one() -> None:
    state = network().state_dict()
    del state["0.0.bias"]
    state["3.0.weight"] = torch.zeros(1)
    with pytest.raises(UserError) as caught:
        load_into(network(), state, "file.pth")
    assert caught.value.places == ["file.pth: 0.0.bias", "file.pth: 3.0.weight"]


def test_a_file_that_encoders_cannot_use_is_one_sentence(tmp_path: Path) -> None:
    """As training started from a weights file says it, for both libraries."""
    whole = build("Unet", "resnet18").state_dict()
    save_file({name: tensor.contiguous() for name, tensor in whole.items()}, tmp_path / "whole.safetensors")
    for encoder in ("resnet18", "tu-resnet18"):
        with pytest.raises(UserError) as caught:
            build("Unet", encoder, str(tmp_path / "whole.safetensors"))
        (problem,) = caught.value.problems
        assert "whole network" in problem.found


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, fails: Fails) -> None:
    for value in (torch.nan, torch.inf, -torch.inf):
        torch.save({"a": torch.ones(3), "b": torch.tensor([1.0, value])}, tmp_path / "w.pth")
        with fails("weights.not_finite", "w.pth: b"):
            read_weights(tmp_path / "w.pth")
    torch.save({"a": torch.tensor([3e38, 3e38]), "b": torch.tensor([1])}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth")["a"].tolist() == torch.tensor([3e38, 3e38]).tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_finite_numbers_whose_sum_is_not_are_finite(dtype: torch.dtype) -> None:
    largest = torch.full((4,), torch.finfo(dtype).max, dtype=dtype)
    assert is_finite(largest) and not is_finite(torch.cat([largest, largest * 2]))
    assert is_finite(torch.zeros(0, dtype=dtype)) and is_finite(torch.tensor([2**62]))


def test_every_tensor_that_is_not_finite_is_listed() -> None:
    with pytest.raises(UserError) as caught:
        check_finite({"a": torch.tensor(torch.nan), "b": torch.ones(1), "c": torch.tensor(torch.inf)}, "f")
    assert caught.value.places == ["f: a", "f: c"]


def test_pickled_objects_are_refused_without_advice_to_run_them(tmp_path: Path, fails: Fails) -> None:
    torch.save(network(), tmp_path / "w.pth")
    with fails("weights.format", "w.pth") as caught:
        read_weights(tmp_path / "w.pth")
    assert "weights_only" not in str(caught.value)


def test_another_dictionary_is_described_by_its_keys(tmp_path: Path, fails: Fails) -> None:
    torch.save({"epoch": 3, "model": {"a": torch.ones(1)}}, tmp_path / "w.pth")
    with fails("weights.format", "w.pth") as caught:
        read_weights(tmp_path / "w.pth")
    assert "epoch, model" in caught.value.problems[0].found


def test_an_archive_that_grows_is_refused_before_it_is_unpacked(tmp_path: Path, fails: Fails) -> None:
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert read_weights(tmp_path / "plain.pth")["a"].shape == (100_000,)
    with fails("weights.format", "w.pth"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x02.", b"PK\x03\x04" + bytes(40), b"\xff" * 8 + bytes(100)])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_any_other_bytes_are_refused(content: bytes, suffix: str, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / f"w{suffix}").write_bytes(content)
    with fails("weights.format", f"w{suffix}"):
        read_weights(tmp_path / f"w{suffix}")
