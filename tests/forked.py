"""Command lines; `dvc` and `handbone` as processes forked from one that has imported them, which saves each a second of imports."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile

_NEEDS_A_SHELL = set("$`*?~#\n;|<>()\\")
# what the commands import, most of it when it is needed
_IMPORTS = ["dvc.api", "dvc.cachemgr", "dvc.cli.parser", "dvc.data_cloud", "dvc.repo.experiments.queue.celery", "dvc.utils.hydra"]
_IMPORTS += ["dvc.repo.graph", "dvc.repo.index", "networkx", "pygit2", "ruamel.yaml", "xml.sax.saxutils"]
_IMPORTS += [f"handbone.cli.{name}" for name in ("compare", "explain", "members", "preset", "score")]
_IMPORTS += ["handbone.comparison.page", "matplotlib.pyplot"]

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["__main__", *_IMPORTS])


def run_line(line: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a command line in that folder with that environment alone: its exit code, and all that it prints."""
    code = 0
    with NamedTemporaryFile("ab") as output:
        for words in _plain_commands(line) or [["bash", "-c", line]]:
            if words[0] in ("dvc", "handbone"):
                code = _run_forked(words, str(folder), environment, output.name)
            else:
                code = subprocess.run(words, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT).returncode
            if code:
                break
        return code, Path(output.name).read_text(errors="replace")


def _plain_commands(line: str) -> list[list[str]]:
    """The words of each command if they are commands of `git`, `dvc` and `handbone` joined by &&; nothing if the line needs a shell."""
    if _NEEDS_A_SHELL & set(line):
        return []
    commands: list[list[str]] = [[]]
    for word in shlex.split(line):
        if word == "&&":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands if all(command and command[0] in ("git", "dvc", "handbone") for command in commands) else []


def _run_forked(words: list[str], folder: str, environment: dict[str, str], output: str) -> int:
    process = _processes.Process(target=_main, args=(words, folder, environment, output))
    process.start()
    process.join()
    return process.exitcode or 0


def _main(words: list[str], folder: str, environment: dict[str, str], output: str) -> None:
    """In the child: what the console scripts of these programs do."""
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = words
    if words[0] == "dvc":
        from dvc.cli import main
    else:
        from handbone.cli import main
    try:
        sys.exit(main())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
