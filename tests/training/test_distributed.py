"""A loss and its gradient do not depend on the number of processes that share the samples."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from handbone.models.outputs import Auxiliary, Outputs
from handbone.training.deep_supervision import DeepSupervisionLoss
from handbone.training.distributed import all_reduce_sum, weighted_mean, weighted_sum
from handbone.training.losses import LOSSES, build_loss

CASES = [*LOSSES, "all", "auxiliary"]
SPLITS = {  # weights of the samples of each process; padding has weight 0
    "uneven": ([1.0, 0.5], [1.0]),
    "only padding": ([1.0, 0.5, 1.0], [0.0]),
    "padded": ([1.0, 0.5], [1.0, 0.0]),
}


class Small(nn.Module):
    """(N, 1, 12, 10) images -> logits of three classes: two maps and one presence score."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps, self.coarse, self.presence = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(1, 3, 3, padding=1), nn.Linear(120, 3)

    def forward(self, images: Tensor) -> Outputs:
        auxiliary = Auxiliary(self.coarse(images), 0.4), Auxiliary(self.presence(images.flatten(1)), 0.3)
        return Outputs(self.maps(images), auxiliary)


def samples() -> tuple[Tensor, Tensor]:
    """Four images and their coverage; the last one is padding."""
    generator = torch.Generator().manual_seed(1)
    coverage = (torch.rand(4, 3, 12, 10, generator=generator) * 1.4 - 0.2).clamp(0, 1)
    coverage[0, 1] = 0
    return 3 * torch.randn(4, 1, 12, 10, generator=generator), coverage


def loss_and_gradient(case: str, model: nn.Module, chosen: slice, weights: list[float]) -> tuple[Tensor, Tensor]:
    """The loss of these samples, and the gradient of all parameters, concatenated."""
    images, coverage = (each[chosen] for each in samples())
    names = {"all": dict.fromkeys(LOSSES, 0.5), "auxiliary": {"bce": 1.0, "dice": 1.0}}.get(case, {case: 1.0})
    outputs = model(images)
    criterion = DeepSupervisionLoss(build_loss(names, [1, 2, 0.5]))
    loss = criterion(outputs if case == "auxiliary" else outputs.logits, coverage, torch.tensor(weights))
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def work(rank: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60))
    model = Small()
    results = {}
    for split, weights in SPLITS.items():
        first = len(weights[0]) if rank else 0
        chosen = slice(first, first + len(weights[rank]))
        results |= {(split, case): loss_and_gradient(case, model, chosen, weights[rank]) for case in CASES}
    torch.save(results, folder / f"{rank}.pt")
    distributed.destroy_process_group()


Results = dict[tuple[str, str], tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    """The results of each of two processes, by split and case."""
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(work, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_the_loss_and_gradient_of_one(case: str, found: list[Results]) -> None:
    loss, gradient = loss_and_gradient(case, Small(), slice(3), [1.0, 0.5, 1.0])
    assert gradient.abs().max() > 1e-4
    for split in SPLITS:
        (first, first_gradient), (second, second_gradient) = (results[split, case] for results in found)
        assert first == second and torch.allclose(first, loss, rtol=0, atol=1e-6)
        averaged = (first_gradient + second_gradient) / 2  # as DDP does
        assert torch.allclose(averaged, gradient, rtol=0, atol=1e-6)


def test_without_processes_a_sum_is_the_tensor_itself() -> None:
    tensor = torch.randn(3)
    assert all_reduce_sum(tensor) is tensor


@pytest.mark.parametrize(("reduce", "expected"), [(weighted_sum, [2.5, 6.0]), (weighted_mean, [2.5 / 1.5, 4.0])])
def test_samples_count_by_their_weight(reduce: Callable[[Tensor, Tensor], Tensor], expected: list[float]) -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 8.0], [9.0, 9.0]])
    assert reduce(values, torch.tensor([1.0, 0.5, 0.0])).tolist() == pytest.approx(expected)


def test_the_mean_of_padding_is_zero() -> None:
    assert weighted_mean(torch.ones(2, 3), torch.zeros(2)).tolist() == [0, 0, 0]
