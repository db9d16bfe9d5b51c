"""Watching a training that the real DVC runs: status, record, notice, and what Ctrl-C and kill -9 leave."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from project import SMALL, Project, ran

pytestmark = pytest.mark.slow
LONG = 400  # epochs, of which a test sees a few
MAX_WAIT = 120  # seconds on a busy machine


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The graph up to the trainings."""
    project = Project.create(
        tmp_path_factory.mktemp("project"), SMALL | {"folds": [0, 1], "machine": {"tracker": "dvclive", "num_workers": 0}}
    )
    project.sh("dvc repro split pseudo")
    project.commit("ready to train")
    return project


@pytest.fixture
def notices() -> Iterator[tuple[str, list[str]]]:
    """The address of a webhook, and the texts that it gets."""
    texts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", texts
        server.shutdown()


def status(project: Project) -> dict[int, dict[str, Any]]:
    return {row["fold"]: row for row in json.loads(project.sh("handbone status --json"))["folds"]}


def test_an_experiment_has_one_record_one_notice_and_no_experiment_of_dvclive(project: Project, notices: tuple[str, list[str]]) -> None:
    address, texts = notices
    head, graph = project.git("rev-parse", "HEAD"), (project.folder / "dvc.yaml").read_bytes()
    output = project.sh(f"HANDBONE_NOTIFY={address} dvc exp run -n mine train@0")
    assert "train@0" in ran(output) and "fold 0: epoch 2/2: loss" in output
    assert project.git("rev-parse", "HEAD") == head and (project.folder / "dvc.yaml").read_bytes() == graph
    assert project.sh("dvc exp list --name-only").split() == ["mine"]
    (record,) = (project.folder / "logs/dvclive").iterdir()
    steps = (record / "plots/metrics/loss.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in steps] == ["step", "1", "2"]
    found = status(project)
    assert (found[0]["state"], found[0]["epoch"], found[1]["state"]) == ("done", 2, "waiting")
    (text,) = texts
    assert f"mine: train@0: fold 0: Dice {found[0]['best_dice']:.4f} after epoch" in text


def test_dvc_shows_the_record(project: Project) -> None:
    (record,) = (project.folder / "logs/dvclive").iterdir()
    shown = project.sh(f"dvc plots show --json {record / 'plots/metrics/loss.tsv'}")
    assert '"step"' in shown and '"loss"' in shown


def test_another_tracker_trains_nothing(project: Project) -> None:
    project.change({"machine": {"tracker": "tensorboard"}})
    assert not ran(project.sh("dvc repro train@0"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_training_that_is_interrupted_resumes_and_says_from_when(project: Project, number: signal.Signals) -> None:
    project.change({"train": {"epochs": LONG, "validate_every": LONG}})
    with terminal(project) as process:
        wait_until(lambda: status(project)[1]["state"] == "running" and status(project)[1]["epoch"] >= 2, process)
        os.killpg(process.pid, number)  # as a terminal does
        output, _ = process.communicate(timeout=MAX_WAIT)
        wait_until(lambda: status(project)[1]["state"] == "interrupted")
    assert process.returncode != 0 and "Traceback" not in output
    assert ("stopped by SIGINT, saved at epoch" in output) == (number == signal.SIGINT)
    with terminal(project) as process:
        # images per second are known after an epoch
        wait_until(lambda: status(project)[1]["state"] == "running" and status(project)[1]["images_per_second"] is not None, process)
        os.killpg(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=MAX_WAIT)
    assert f"of {LONG}, batch" in output and ", saved on " in output
    (record,) = (project.folder / "logs/tensorboard").iterdir()
    assert record.name.startswith("fold_1-")


@contextmanager
def terminal(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A terminal in which DVC trains the second fold; all its processes are gone afterwards."""
    process = subprocess.Popen(
        ["dvc", "repro", "-s", "train@1"],
        cwd=project.folder,
        env=project.environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell may have it ignored in the background
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """process: must not end before."""
    deadline = time.monotonic() + MAX_WAIT
    while not holds():
        assert time.monotonic() < deadline and (process is None or process.poll() is None), process and process.communicate()[0]
        time.sleep(0.3)
