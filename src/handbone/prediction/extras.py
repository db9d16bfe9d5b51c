"""Packages that only some commands need."""

from __future__ import annotations

from importlib.util import find_spec

from handbone.utils.errors import Problem, UserError


def require_extra(extra: str, purpose: str, *packages: str) -> None:
    """Raise `UserError` (`extra.missing`) that names the packages of an extra of pyproject.toml that are not installed."""
    if missing := [package for package in packages if find_spec(package) is None]:
        fix = f"run pip install -e '.[{extra}]' in the repository of handbone"
        raise UserError(Problem("extra.missing", purpose, f"the packages {', '.join(packages)}", f"no {', no '.join(missing)}", fix))
