"""`handbone ...`: one file per command."""

from handbone.cli.app import main

__all__ = ["main"]
