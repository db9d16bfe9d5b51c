"""A notice to a chat or a phone when a stage ends: one POST to the webhook that an environment variable names."""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from handbone.utils.ending import REPORTS

WEBHOOK = "HANDBONE_NOTIFY"  # environment variable: the address, which is a secret and is never printed
STAGE, EXPERIMENT, ROOT = "DVC_STAGE", "DVC_EXP_NAME", "DVC_ROOT"  # environment variables of DVC for the command of a stage
TIMEOUT = 4.0  # seconds for the request, and a second more for everything, such as a name server that does not answer
LONGEST = 1500  # characters; Discord refuses more than 2000
NOTICE_FILE = "notice"  # file in the folder `REPORTS`


class Notice:
    """text: what the stage of this process has to say if it ends well; of_process: what a process of its launch has said."""

    text = of_process = ""


NOTICE = Notice()


def tell(text: str) -> None:
    """Say this in the notice if the stage ends well. Without a text there is none: most stages take seconds."""
    NOTICE.text = text


@contextmanager
def notice_of_end() -> Iterator[None]:
    """At the end of this context, send how the stage that DVC has started ended: the text of `tell`, an interruption or an error.

    Nothing happens outside DVC and without the environment variable. Of the processes of one launch the launcher sends.
    What cannot be sent is a warning that does not show the address; it neither fails nor delays the stage by more than five seconds.
    """
    if not os.environ.get(STAGE) or not os.environ.get(WEBHOOK):
        yield
        return
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        code = stop.code if isinstance(stop, SystemExit) else 128
        if code:
            _deliver("was stopped" if isinstance(code, int) and code >= 128 else f"failed: {code}")
        raise
    except BaseException as error:
        _deliver(f"failed: {error or type(error).__name__}")
        raise
    if NOTICE.text:
        _deliver(NOTICE.text)


def receive_notice(reports: Path) -> None:
    """In a launcher: take over what its processes have said in their folder `REPORTS`, and send it at the end."""
    with suppress(OSError):
        NOTICE.text = NOTICE.of_process = (reports / NOTICE_FILE).read_text(encoding="utf-8")


def _deliver(text: str) -> None:
    reports = os.environ.get(REPORTS)
    if reports is not None:
        with suppress(OSError), (Path(reports) / NOTICE_FILE).open("x", encoding="utf-8") as file:  # the first process that ends
            file.write(text)
    elif os.environ.get("RANK", "0") == "0":
        send(f"{os.environ[STAGE]}: {NOTICE.of_process or text}", os.environ[WEBHOOK])


def send(text: str, address: str) -> None:
    """POST the text, after the names of machine, repository and experiment, as JSON that Slack, Mattermost and Discord understand."""
    repository = Path(os.environ.get(ROOT, ".")).resolve().name
    place = ", ".join(filter(None, [platform.node(), repository, os.environ.get(EXPERIMENT)]))
    faults: list[str] = []
    # in a thread, as looking up a name has no time limit; it is a daemon, so the process ends without it
    arguments = (f"{place}: {text}"[:LONGEST], address, faults)
    thread = threading.Thread(target=_post, args=arguments, name="notice", daemon=True)
    thread.start()
    thread.join(TIMEOUT + 1)
    fault = "no answer" if thread.is_alive() else next(iter(faults), "")
    if fault:
        print(f"WARNING: {WEBHOOK}: the notice was not sent: {fault}", file=sys.stderr, flush=True)


def _post(text: str, address: str, faults: list[str]) -> None:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        if not address.startswith(("https://", "http://")):
            raise ValueError("no http address")
        body = json.dumps({"text": text, "content": text}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "handbone"}  # Discord refuses urllib's
        with urlopen(Request(address, body, headers), timeout=TIMEOUT):
            pass
    except HTTPError as error:
        faults.append(f"HTTP status {error.code}")
    except Exception as error:  # only its type, as its text may have the address
        faults.append(type(error).__name__)
