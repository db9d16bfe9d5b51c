"""`python -m reliability.licences`: the licence of every locked package, and an error for one that nobody has looked at."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata

from imports import ROOT

# licences that ask for no more than their own text, and the MPL, which covers its files alone and not what uses them
FREE = re.compile(
    r"(Apache|MIT|(0|3-Clause )?BSD|FreeBSD|ISC|PSF|Python Software Foundation|Zope|Zlib|CC0|MPL|Mozilla)[\w .+()-]*((;| AND | OR ).*)?",
    re.IGNORECASE,
)
DOUBTFUL = re.compile(r"\bA?GPL|\bLGPL|General Public|Proprietary|Commercial|Creative Commons.*Non", re.IGNORECASE)
EXAMINED = {  # packages with another licence, and why they may be used
    "asyncssh": "EPL-2.0 or GPL-2.0; a library of DVC's remotes, unchanged and not imported here",
    "dulwich": "Apache-2.0 or GPL-2.0: used under Apache-2.0; a library of DVC",
    "grandalf": "GPL-2.0 or EPL-1.0; DVC draws `dvc dag` with it, not imported here",
    "pygit2": "GPL-2.0 with an exception for linking; a library of DVC",
}
VENDOR = "nvidia-"  # NVIDIA's own licence: CUDA's libraries may be used, and passed on with an application; not on a CPU-only machine


def locked() -> list[str]:
    """The names in requirements.lock."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return sorted({found[1] for line in lines if (found := re.match(r"([A-Za-z0-9_.-]+)==", line))})


def licence(package: PackageMetadata) -> str:
    """What a package says about its licence: the SPDX expression, else the classifiers, else the first line of the text."""
    fields = package.json
    classifiers = [line.split(" :: ")[-1] for line in fields.get("classifier", []) if line.startswith("License ::")]
    text = str(fields.get("license", "")).strip().splitlines()
    return str(fields.get("license_expression") or "; ".join(classifiers) or (text[0] if text else "unknown"))


def licences() -> dict[str, str]:
    """The licence of each locked package that is installed here; others are for other systems."""
    found = {}
    for name in locked():
        try:
            found[name] = licence(metadata(name))
        except PackageNotFoundError:
            continue
    return found


def unexamined(found: dict[str, str]) -> dict[str, str]:
    """The packages whose licence is neither free nor examined."""
    return {
        name: text
        for name, text in found.items()
        if (DOUBTFUL.search(text) or not FREE.fullmatch(text)) and name not in EXAMINED and not name.startswith(VENDOR)
    }


def main() -> None:
    """Print the table."""
    found = licences()
    groups: dict[str, list[str]] = {}
    for name, text in found.items():
        groups.setdefault("examined: " + EXAMINED[name] if name in EXAMINED else text, []).append(name)
    print("\n".join(f"{text}: {', '.join(names)}" for text, names in sorted(groups.items())))
    if bad := unexamined(found):
        sys.exit(f"\nERROR: requirements.lock: expected licences that are known; found {bad}; look at them, and add them to {__file__}")


if __name__ == "__main__":
    main()
