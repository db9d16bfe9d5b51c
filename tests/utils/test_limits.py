"""What a machine runs out of ends every stage with advice."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from conftest import Fails
from handbone.utils.errors import UserError, run_cli
from handbone.utils.limits import limit_error, require_space, require_writable


def os_error(number: int, file: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), file)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.50 GiB for an array"),
        os_error(errno.ENOMEM),
        *map(
            RuntimeError,
            [
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has",
                "CUDA error: out of memory\nCUDA kernel errors might be",
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
                "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
                "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
                "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
                "cuFFT error: CUFFT_ALLOC_FAILED",
                "GET was unable to find an engine to execute this computation",
                "Triton Error [CUDA]: out of memory",
                "upsample_nearest_nhwc only supports output tensors with less than INT_MAX elements, but got [24, 32, 2048, 2048]",
                "NCCL error in: x.cpp:1, unhandled cuda error\nLast error:\nFailed to CUDA calloc async 9 bytes",
                "NCCL error in: x.cpp:1, unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'",
                "could not create a primitive",
                "could not create a memory object",
                "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.",
                "OpenCV(4.10.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes in function 'OutOfMemoryError'",
                "std::bad_alloc",
            ],
        ),
    ],
)
@pytest.mark.parametrize(
    ("stage", "place"),
    [
        ("train", "params.yaml: train.batch_size"),
        ("infer", "params.yaml: infer.batch_size"),
        ("preprocess", "params.yaml: machine.preprocess_workers"),
        ("validate", "stage validate"),
    ],
)
def test_memory(error: Exception, stage: str, place: str) -> None:
    found = limit_error(error, stage)
    assert found is not None and found.codes == {"machine.memory"} and found.places == [place]


@pytest.mark.parametrize(
    ("error", "code", "place"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "machine.worker_killed", "machine.num_workers"),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "machine.worker_killed", "machine.num_workers"),
        (RuntimeError("A process in the process pool was terminated abruptly while"), "machine.worker_killed", "machine.num_workers"),
        (os_error(errno.ENOSPC, "models/x"), "io.disk_full", "models/x"),
        (os_error(errno.ENOSPC), "io.disk_full", str(Path.cwd())),
        (os_error(errno.EDQUOT, "models/x"), "io.disk_full", "models/x"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "io.disk_full", str(Path.cwd())),
        (os_error(errno.EACCES, "models/x"), "io.permission", "models/x"),
        (os_error(errno.EROFS, "models/x"), "io.permission", "models/x"),
        (os_error(errno.ENOENT, "models/x"), "io.folder", "models/x"),
        (os_error(errno.EIO, "models/x"), "io.failed", "models/x"),
        (os_error(errno.EMFILE, "models/x"), "machine.open_files", "stage train"),
        (os_error(errno.EAGAIN), "machine.processes", "machine.num_workers"),
        (RuntimeError("can't start new thread"), "machine.processes", "machine.num_workers"),
    ],
)
def test_other_limits(error: Exception, code: str, place: str) -> None:
    found = limit_error(error, "train")
    assert found is not None and found.codes == {code} and place in found.places[0]


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("memory"), os_error(errno.ECONNREFUSED), ValueError("killed")])
def test_other_errors_are_not_limits(error: Exception) -> None:
    assert limit_error(error, "train") is None


def test_the_cause_of_an_exception_counts_and_those_of_a_group() -> None:
    outer = ValueError("the model cannot be written")
    outer.__cause__ = os_error(errno.EROFS, "models/x")
    for error in (outer, ExceptionGroup("tasks", [ValueError(), outer])):
        found = limit_error(error, "train")
        assert found is not None and found.codes == {"io.permission"}


def test_a_command_ends_with_the_advice() -> None:
    def fail() -> None:
        raise MemoryError

    with pytest.raises(SystemExit) as ended:
        run_cli(fail)
    advice = limit_error(MemoryError())
    assert advice is not None and advice.problems[0].fix in str(ended.value.code)


def test_space_on_one_disk_is_added_up(tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    require_space({tmp_path / "a/b": 500, tmp_path / "c": 500}, "free some")
    with fails("io.disk_full", "c", "a/b") as error:
        require_space({tmp_path / "a/b": 500, tmp_path / "c": 501}, "free some")
    assert len(error.value.problems) == 1


def test_a_writable_folder_is_created_and_left_empty(tmp_path: Path, fails: Fails) -> None:
    require_writable(tmp_path / "a/b")
    assert os.listdir(tmp_path / "a/b") == []
    (tmp_path / "file").touch()
    with fails("io.folder", "file"):
        require_writable(tmp_path / "file")


def test_a_user_error_is_not_a_limit() -> None:
    assert limit_error(UserError()) is None
