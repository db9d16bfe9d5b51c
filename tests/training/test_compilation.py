"""torch.compile: when, with the same result, and what happens where it fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from handbone.models.registry import build_model
from handbone.models.spec import ModelSpec
from handbone.training import trainer
from handbone.training.checkpoint import Checkpoint
from handbone.training.compilation import MIN_STEPS, compiled, is_compiled
from handbone.training.losses import loss_values
from handbone.training.state import Progress
from small_training import SmallTraining, make_files, scored
from training_params import PARAMS

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("changes", "steps", "device", "processes", "expected"),
    [
        ({}, MIN_STEPS, GPU, 1, True),
        ({}, MIN_STEPS - 1, GPU, 1, False),
        ({}, MIN_STEPS, CPU, 1, False),
        ({}, MIN_STEPS, GPU, 2, False),
        ({"deterministic": True}, MIN_STEPS, GPU, 1, False),
        ({"compile": True}, 1, CPU, 2, True),
        ({"compile": False}, MIN_STEPS, GPU, 1, False),
    ],
)
def test_auto_compiles_long_trainings_on_one_gpu(
    changes: dict[str, Any], steps: int, device: torch.device, processes: int, expected: bool
) -> None:
    accelerator = SimpleNamespace(device=device, num_processes=processes)
    assert is_compiled(PARAMS.model_copy(update=changes), steps, accelerator) is expected  # type: ignore[arg-type]


def test_a_network_is_one_graph() -> None:
    """A break after each norm would leave nothing to fuse."""
    model = build_model(ModelSpec("Unet", "tu-resnet10t", 1, ["a", "b"])).train()
    found = torch._dynamo.explain(model)(torch.rand(2, 1, 64, 64))
    assert (found.graph_count, found.graph_break_count) == (1, 0)


@pytest.mark.parametrize("name", ["bce", "focal", "dice", "jaccard", "tversky", "lovasz"])
def test_a_loss_is_one_graph_with_the_same_values_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    coverage, weights, logits = torch.rand(2, 3, 16, 16), torch.tensor([1.0, 0.5]), torch.randn(2, 3, 16, 16)
    values, gradients = [], []
    for function in (loss_values, torch.compile(loss_values, backend="aot_eager", fullgraph=True, dynamic=False)):
        leaf = logits.clone().requires_grad_()
        (value,) = function((name,), leaf, coverage, weights)
        value.sum().backward()
        assert leaf.grad is not None
        values.append(value.detach())
        gradients.append(leaf.grad)
    assert torch.allclose(values[0], values[1]) and torch.allclose(gradients[0], gradients[1], atol=1e-7)


def network() -> nn.Sequential:
    """With a batch norm, and without dropout, whose random numbers are others in compiled code."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))


def train(folder: Path, compile_it: bool, stop: bool = False) -> Progress:
    """stop: by an error of the score after the second of three epochs."""
    params = PARAMS.model_copy(update={"compile": compile_it, "epochs": 3, "validate_every": 2, "grad_accum": 2})
    folder.mkdir(exist_ok=True)
    training = SmallTraining(make_files(folder), params, network=network())

    def evaluate(model: nn.Module) -> Any:
        if stop:
            raise KeyboardInterrupt
        return scored(0.5 + 0.1 * training.batches.epoch)(model)

    return training.trainer.fit(evaluate, Checkpoint(folder / "state"), "test")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled to PyTorch's own operations instead of kernels."""
    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compiler(function, **options, backend="aot_eager"))


@pytest.mark.usefixtures("quick")
def test_a_compiled_training_resumes_with_the_same_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = train(tmp_path / "whole", True)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", True, stop=True)
    resumed = train(tmp_path / "stopped", True)
    printed = capsys.readouterr().out
    assert printed.count("network and loss compiled in") == 3 and "resumes at epoch 2" in printed
    assert whole.rows == resumed.rows and whole.best_weights.keys() == network().state_dict().keys()
    assert all(torch.equal(resumed.best_weights[name], value) for name, value in whole.best_weights.items())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("least", "graphs"), [(MIN_STEPS, 2), (3, 4)])
def test_nothing_is_compiled_again_but_for_other_batches_if_there_are_many(
    least: int, graphs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in another epoch, after a score, at another learning rate, nor for the copy of the model that is scored.

    Each of three epochs has one smaller batch; network and loss are a graph each.
    """
    monkeypatch.setattr(trainer, "MIN_STEPS", least)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    train(tmp_path / "compiled", True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs


def test_a_compiled_training_ends_where_the_plain_one_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, found = train(tmp_path / "plain", False), train(tmp_path / "compiled", True)
    assert "network and loss compiled in" in capsys.readouterr().out
    assert [row["loss"] for row in found.rows] == pytest.approx([row["loss"] for row in plain.rows], abs=1e-5)
    assert all(torch.allclose(found.best_weights[name], value, atol=1e-4) for name, value in plain.best_weights.items())


def no_compiler(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
    """As a backend that does not find a C compiler."""
    raise RuntimeError("no C compiler")


def no_kernel(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
    """As a backend whose kernels ask for more than the GPU has, of which the compiler's own errors tell nothing."""

    def run(*values: Tensor) -> Any:
        raise RuntimeError("no valid configuration")

    return run


@pytest.mark.parametrize(("backend", "why"), [(no_compiler, "no C compiler"), (no_kernel, "no valid configuration")])
def test_what_cannot_be_compiled_runs_as_it_is(
    backend: Any, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(tmp_path / "plain", False)
    monkeypatch.setattr(trainer, "compiled", lambda function, **_: torch.compile(function, backend=backend))
    found = train(tmp_path / "broken", True)
    printed = capsys.readouterr().out
    assert printed.count("cannot be compiled") == 2 and printed.count(why) == 2
    assert found.rows == plain.rows
    assert all(torch.equal(found.best_weights[name], value) for name, value in plain.best_weights.items())


def test_a_failed_attempt_leaves_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The network runs before the compiler fails at the loss, and its norms have seen a batch by then."""

    def only_the_network(function: Any, in_one_piece: bool = False, other_sizes: bool = True) -> Any:
        return torch.compile(function, backend=no_compiler if in_one_piece else "eager")

    plain = train(tmp_path / "plain", False)
    monkeypatch.setattr(trainer, "compiled", only_the_network)
    found = train(tmp_path / "half", True)
    printed = capsys.readouterr().out
    assert "network and loss cannot be compiled" in printed and "the network alone compiled in" in printed
    assert found.rows == plain.rows
    assert all(torch.equal(found.best_weights[name], value) for name, value in plain.best_weights.items())


@pytest.mark.usefixtures("quick")
def test_a_schedule_may_change_the_losses_often(tmp_path: Path) -> None:
    """Each set of losses is compiled for itself; here each epoch has another one, those of the bits of its number."""
    names, epochs = ["bce", "jaccard", "focal", "tversky"], range(1, 11)
    switched = {name: [[epoch, float(epoch >> bit & 1)] for epoch in epochs] for bit, name in enumerate(names)}
    params = PARAMS.model_copy(update={"compile": True, "epochs": 10, "validate_every": 10, "loss": {"dice": 1.0} | switched})
    progress = SmallTraining(make_files(tmp_path), params, plain=True).trainer.fit(scored(0.5), Checkpoint(tmp_path / "state"), "test")
    assert progress.epochs_done == 10


def test_another_error_of_the_first_step_is_raised(tmp_path: Path) -> None:
    class Broken(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            raise OSError("no such file")

    params = PARAMS.model_copy(update={"compile": True})
    with pytest.raises(OSError, match="no such file"):
        SmallTraining(make_files(tmp_path), params, network=Broken(1, 2, 1)).trainer.fit(scored(0.5), Checkpoint(tmp_path / "c"), "test")


def test_a_function_is_compiled_for_each_shape() -> None:
    function = compiled(lambda values: values * 2)
    assert [function(torch.ones(size)).sum().item() for size in (2, 3)] == [4, 6]
