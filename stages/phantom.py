"""Stage `phantom`: the synthetic data set, where the parameters ask for it."""

from __future__ import annotations

from pathlib import Path

from handbone.config import paths
from handbone.config.params import DataParams, load_params
from handbone.phantom.anatomy import BONES
from handbone.phantom.dataset import write_phantom
from handbone.utils.errors import UserError, run_cli


def main() -> None:
    """Write the phantom to its folder, or a note there that the data lie elsewhere."""
    params = load_params()
    if Path(params.data.root) == paths.PHANTOM:
        check_classes(params.data)
        write_phantom(params.phantom, paths.PHANTOM, params.machine.preprocess_workers)
    else:
        paths.PHANTOM.mkdir(parents=True, exist_ok=True)
        note = f"The data root is elsewhere ({params.data.root}), so no phantom was made.\n"
        (paths.PHANTOM / "README.txt").write_text(note, encoding="utf-8")


def check_classes(data: DataParams) -> None:
    """Raise a `UserError` where the classes are not the 29 bones that the phantom has, in any order."""
    missing, unknown = sorted(set(BONES) - set(data.classes)), sorted(set(data.classes) - set(BONES))
    if missing or unknown:
        found = ", ".join([f"no {name}" for name in missing] + [f"{name}, which it has not" for name in unknown])
        raise UserError(
            f"params.yaml: data.classes: expected the phantom's {len(BONES)} bones ({BONES[0]} to {BONES[-1]}); found {found}; "
            "set data.classes to the 29 bones as in presets/, or data.root to your own data"
        )


if __name__ == "__main__":
    run_cli(main)
