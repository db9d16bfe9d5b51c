"""`handbone ...`: one file per command."""

import signal


def main() -> None:
    """The entry point of `handbone`. Until `run_cli` handles it, Ctrl-C ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from handbone.cli.app import main as run

    run()
