"""The notice at the end of a stage: what is sent, when, and that it never harms the stage."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from handbone.utils.notice import TIMEOUT, WEBHOOK
from imports import ROOT

SECRET = "T0123/very-secret"
RUN = "from handbone.utils.errors import *; from handbone.utils import notice; import os, signal, sys, time; tell = notice.tell\n"
RUN += "notice.TIMEOUT = float(os.environ.get('TIMEOUT', notice.TIMEOUT))\n"
ENDS = {
    "done": "def main(): tell('fold 0: Dice 0.9')",
    "quiet": "def main(): pass",
    "failed": "def main(): raise UserError(Problem('a.b', 'here', 'x', 'y', 'z'))",
    "broken": "def main(): raise ValueError('a fault')",
    "stopped": "def main(): os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)",
    "ended": "def main(): sys.exit(130)",
}


class Webhook(HTTPServer):
    """Keeps what it gets. status: of its answers; may_answer: not before this is set."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, dict[str, str]]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append((self.path, body))
        self.server.may_answer.wait()
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.may_answer.set()
        server.shutdown()


def run(end: str, address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    names = {"PYTHONPATH": str(ROOT / "src"), WEBHOOK: address, "DVC_STAGE": "train@0"} | environment
    inherited = {name: value for name, value in os.environ.items() if name != "RANK"}
    return subprocess.run([sys.executable, "-c", f"{RUN}{ENDS[end]}\nrun_cli(main)"], env=inherited | names, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("end", "code", "text"),
    [
        ("done", 0, "train@0: fold 0: Dice 0.9"),
        ("failed", 1, "train@0: failed: here: expected x; found y; z"),
        ("broken", 1, "train@0: failed: a fault"),
        ("stopped", 143, "train@0: was stopped"),
        ("ended", 130, "train@0: was stopped"),
    ],
)
def test_an_end_is_told_in_the_form_that_chats_read(webhook: Webhook, end: str, code: int, text: str) -> None:
    done = run(end, webhook.address)
    assert done.returncode == code
    ((path, body),) = webhook.received
    assert path == f"/{SECRET}" and set(body) == {"text", "content"} and body["text"] == body["content"]
    assert body["text"].endswith(text)
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("end", "environment"),
    [("quiet", {}), ("failed", {"RANK": "1"}), ("failed", {"DVC_STAGE": ""}), ("failed", {WEBHOOK: ""})],
)
def test_nothing_is_sent_of_other_ends_processes_and_commands(webhook: Webhook, end: str, environment: dict[str, str]) -> None:
    run(end, webhook.address, **environment)
    assert not webhook.received


@pytest.mark.parametrize("fault", ["status", "nobody", "scheme", "slow"])
def test_a_notice_that_cannot_be_sent_is_a_warning_without_the_address(webhook: Webhook, fault: str) -> None:
    webhook.status = 500 if fault == "status" else 200
    if fault == "slow":
        webhook.may_answer.clear()
    address = {"nobody": f"http://127.0.0.1:1/{SECRET}", "scheme": f"file:///{SECRET}"}.get(fault, webhook.address)
    start = time.monotonic()
    done = run("done", address, TIMEOUT="0.5")
    assert TIMEOUT + 1 <= 5 and time.monotonic() - start < 0.5 + 1 + 3  # seconds for the start of a process
    assert done.returncode == 0 and done.stderr.count("WARNING") == 1
    assert SECRET not in done.stderr and "127.0.0.1" not in done.stderr


@pytest.mark.parametrize(
    ("end", "text"), [("done", "train@0: fold 0: Dice 0.9"), ("failed", "train@0: failed: here: expected x; found y; z")]
)
def test_the_processes_of_a_launch_hand_their_notice_to_the_launcher(webhook: Webhook, tmp_path: Path, end: str, text: str) -> None:
    run(end, webhook.address, RANK="0", HANDBONE_REPORTS=str(tmp_path))
    run("stopped", webhook.address, RANK="1", HANDBONE_REPORTS=str(tmp_path))  # later, as torchrun ends the others
    assert not webhook.received
    launcher = f"from pathlib import Path; from handbone.utils.notice import *\ndef main(): receive_notice(Path({str(tmp_path)!r}))"
    ENDS["launcher"] = launcher if end == "done" else f"{launcher}; sys.exit(1)"
    run("launcher", webhook.address)
    ((_, body),) = webhook.received
    assert body["text"].endswith(text)
