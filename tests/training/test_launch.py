"""What the environment says about processes, devices and arithmetic is pinned, refused or recorded."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.torch_version import TorchVersion

from conftest import Fails
from handbone.models import device
from handbone.models.device import ALLOCATOR, ROUNDING, choose_device, describe_machine
from handbone.training import distributed
from handbone.training.distributed import is_launched, launch_distributed, make_accelerator
from handbone.training.seeding import set_determinism

LAUNCHED = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of a launcher, and torchrun's handlers of signals do not stay."""
    for name in [*LAUNCHED, *ALLOCATOR, "CUDA_VISIBLE_DEVICES"]:
        monkeypatch.setenv(name, "")  # so that the end of the test undoes what the code sets
        monkeypatch.delenv(name)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_no_variable_is_no_launch_and_all_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_launched()
    monkeypatch.setenv("MASTER_ADDR", "node1")  # of the cluster: alone it starts nothing
    assert not is_launched()
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert is_launched()


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK"])
def test_a_part_of_a_launch_is_refused(name: str, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    """Without this, WORLD_SIZE=2 waits for ever on a CPU, and WORLD_SIZE=1 lets one process train where gpus_per_fold says four."""
    monkeypatch.setenv(name, "2")
    with fails("train.launch", name):
        is_launched()
    with fails("train.launch", name):
        make_accelerator("no")


@pytest.mark.parametrize("changes", [{"RANK": "1"}, {"WORLD_SIZE": "many"}])
def test_a_launch_that_makes_no_sense_is_refused(changes: dict[str, str], monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    for name, value in (LAUNCHED | changes).items():
        monkeypatch.setenv(name, value)
    with fails("train.launch", "WORLD_SIZE"):
        is_launched()


def test_variables_that_configure_accelerate_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients would be divided by four, computed in bf16, by a compiled network."""
    for name, value in {
        "GRADIENT_ACCUMULATION_STEPS": "4",
        "MIXED_PRECISION": "bf16",
        "DYNAMO_BACKEND": "eager",
        "USE_CPU": "true",
    }.items():
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    accelerator = make_accelerator("no")
    assert accelerator.gradient_accumulation_steps == 1 and accelerator.mixed_precision == "no"
    assert accelerator.state.dynamo_plugin.backend.value.lower() == "no"
    assert not [name for name in os.environ if name.startswith("ACCELERATE_")]


def test_variables_that_change_the_rounding_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ROUNDING:
        monkeypatch.setenv(name, "1")
    torch.set_float32_matmul_precision("high")
    choose_device()
    assert not set(ROUNDING) & os.environ.keys() and torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("version", "name"), [("2.9.1+cu128", "PYTORCH_CUDA_ALLOC_CONF"), ("2.11.0", "PYTORCH_ALLOC_CONF")])
def test_memory_is_reserved_in_segments_that_grow_unless_the_user_says_how(
    version: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_device()
    assert not set(ALLOCATOR) & os.environ.keys()  # a CPU needs none
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    choose_device()
    assert [(each, os.environ.get(each)) for each in ALLOCATOR if each in os.environ] == [(name, "expandable_segments:True")]
    for given in ALLOCATOR:
        for each in ALLOCATOR:
            monkeypatch.delenv(each, raising=False)
        monkeypatch.setenv(given, "max_split_size_mb:512")
        choose_device()
        assert [os.environ[each] for each in ALLOCATOR if each in os.environ] == ["max_split_size_mb:512"]


@pytest.mark.parametrize(("before", "after"), [(None, ":4096:8"), (":0:0", ":4096:8"), (":16:8", ":16:8")])
def test_a_workspace_with_which_cublas_is_not_deterministic_is_replaced(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", before or "")
    try:
        set_determinism(True)
    finally:
        torch.use_deterministic_algorithms(False)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == after


def test_what_decides_the_last_bits_is_recorded() -> None:
    found = describe_machine(torch.device("cpu"), 2)
    assert found["processes"] == 2 and found["threads"] == torch.get_num_threads() and str(found["device"]).startswith("cpu ")


@pytest.mark.parametrize(("gpu", "threads"), [(True, 1), (False, 3)])
def test_a_gpu_leaves_the_cores_to_others_and_a_cpu_keeps_its_threads(gpu: bool, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU their number decides the last bits."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        choose_device()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with a GPU that PyTorch cannot use."""

    def refuse() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", refuse)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(device, "_gpu_files", lambda: [Path("/dev/nvidia0")])
    return monkeypatch


def test_a_gpu_that_cannot_be_used_is_an_error_unless_the_cpu_is_asked_for(no_gpu: pytest.MonkeyPatch, fails: Fails) -> None:
    with fails("machine.gpu", "GPU") as error:
        choose_device()
    assert "too old" in error.value.problems[0].found
    no_gpu.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device().type == "cpu"


def test_a_gpu_that_does_not_exist_is_an_error(no_gpu: pytest.MonkeyPatch, fails: Fails) -> None:
    no_gpu.setattr(device, "_gpu_files", list)
    assert choose_device().type == "cpu"
    no_gpu.setenv("CUDA_VISIBLE_DEVICES", "7")
    with fails("machine.gpu"):
        choose_device()


def test_more_processes_than_gpus_are_an_error(monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.setattr(distributed, "choose_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with fails("train.gpus", "machine.gpus_per_fold"):
        launch_distributed("stages.train", ["0"], 3)


@pytest.mark.parametrize(("text", "code"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_a_launch_ends_with_the_code_of_its_first_failure(text: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_module.py").write_text(f"import os, sys, time\nif os.environ['RANK'] == '0':\n    {text}\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert launch_distributed("failing_module", [], 2) == code
    assert "HANDBONE_REPORTS" not in os.environ
