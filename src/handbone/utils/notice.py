"""A notice to a chat or a phone when a stage ends: one POST to the webhook that an environment variable names."""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

WEBHOOK = "HANDBONE_NOTIFY"  # environment variable: the address, which is a secret and is never printed
TIMEOUT = 4.0  # seconds for the request, and a second more for everything, such as a name server that does not answer
LONGEST = 1500  # characters; Discord refuses more than 2000
STAGE = "DVC_STAGE"  # environment variable that DVC sets for the command of a stage, e.g. train@0


class Notice:
    """What a stage has to say about its success. Without a text nothing is sent: most stages take seconds."""

    def __init__(self) -> None:
        self.text = ""


NOTICE = Notice()  # of this process, which runs one stage


def tell(text: str) -> None:
    """Send this text if the stage of this process ends well, and somebody has asked for notices."""
    NOTICE.text = text


@contextmanager
def notice_of_end() -> Iterator[None]:
    """At the end of this context, send how the stage that DVC has started ended: the text of `tell`, an interruption or an error.

    Nothing happens outside DVC, without the environment variable, and in all but the first process of a launch.
    What cannot be sent is a warning that does not show the address; it neither fails nor delays the stage by more than five seconds.
    """
    stage = os.environ.get(STAGE) if os.environ.get("RANK", "0") == "0" else None
    if stage is None or not os.environ.get(WEBHOOK):
        yield
        return
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, KeyboardInterrupt) or stop.code:
            send(f"{stage} was stopped", os.environ[WEBHOOK])
        raise
    except BaseException as error:
        send(f"{stage} failed: {error or type(error).__name__}", os.environ[WEBHOOK])
        raise
    if NOTICE.text:
        send(f"{stage}: {NOTICE.text}", os.environ[WEBHOOK])


def send(text: str, address: str) -> None:
    """POST the text, with the names of the machine and the folder, as JSON that Slack, Mattermost, Discord and ntfy's templates read."""
    full = f"{platform.node()}, {os.path.basename(os.getcwd())}: {text}"[:LONGEST]
    faults: list[str] = []
    # in a thread, as looking up a name has no time limit; it is a daemon, so the process ends without it
    thread = threading.Thread(target=_post, args=(full, address, faults), name="notice", daemon=True)
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
