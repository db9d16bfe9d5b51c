"""Whether published weights can be had: caches first, then a server, which has seconds to answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
import torch
from huggingface_hub import constants

from handbone.models import connection
from handbone.models.connection import is_cached, require_source, unreachable
from handbone.models.pretrained import download, download_from_hub, hub_url

if TYPE_CHECKING:
    from conftest import Fails

REPO, COMMIT = "timm/resnet18.a1_in1k", "0" * 40
TORCH_URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of both libraries, and no proxy."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server on this machine that knows one file."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path == "/file" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_that_answers_is_reachable_whatever_it_says(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unreachable(f"{server}/file") is None and unreachable(f"{server}/other") is None
    monkeypatch.setattr(constants, "ENDPOINT", server)  # a mirror
    assert unreachable(hub_url(REPO)) is None


def test_a_closed_port_and_a_server_that_is_silent_are_not() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        assert "refused" in str(unreachable(url))
        silent.listen()
        start = time.monotonic()
        assert unreachable(url, seconds=0.2) is not None and time.monotonic() - start < 5


def test_cached_files_need_no_connection(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "unreachable", lambda url: "no answer")
    folder = caches / "hub/models--timm--resnet18.a1_in1k"
    for path, text in (("refs/main", COMMIT), (f"snapshots/{COMMIT}/model.safetensors", "weights")):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text)
    file = caches / "torch/hub/checkpoints/resnet50-0676ba61.pth"
    file.parent.mkdir(parents=True)
    file.touch()
    for url in (hub_url(REPO), hub_url(REPO, file="pytorch_model.bin"), hub_url(REPO, COMMIT), TORCH_URL):
        assert is_cached(url), url
        require_source(url, "model.weights", "download it")
    assert not is_cached(hub_url("timm/resnet34.a1_in1k")) and not is_cached(hub_url(REPO, "1" * 40)) and not is_cached(f"{TORCH_URL}2")


@pytest.mark.parametrize("load", [lambda: download(TORCH_URL), lambda: download_from_hub(REPO)])
def test_what_cannot_be_downloaded_is_an_error_at_once(load: object, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.setattr(connection, "unreachable", lambda url: "no answer")
    with fails("weights.download", "params.yaml: model.weights") as error:
        load()  # type: ignore[operator]
    assert "into weights/ as" in error.value.problems[0].fix
