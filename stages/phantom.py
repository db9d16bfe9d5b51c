"""Stage `phantom`: write the synthetic data set, if it is the data root."""

from __future__ import annotations

from pathlib import Path

from handbone.config import paths
from handbone.config.params import BONES, DataParams, load_params
from handbone.phantom.dataset import write_phantom
from handbone.utils.errors import Problem, UserError, warn
from handbone.utils.io import remove_folder, write_text
from stages import run_stage


def main() -> None:
    """Write the phantom to its folder, or a note there that the data root is another folder."""
    params = load_params()
    root = Path(params.data.root)
    needed = root == paths.PHANTOM
    if needed:
        check_classes(params.data)
    elif not root.is_dir():  # DVC's own error names the folder, and no parameter; another stage may still make the folder
        found, fix = f"no folder {root}", "put the data there, or set data.root to the folder that holds train/ (and test/)"
        if root.is_symlink():
            found, fix = (
                f"{root}, a link to {root.readlink()}, which is not there",
                "give ln -s an absolute path",
            )
        warn(Problem("phantom.data_root", "params.yaml: data.root", "the folder of the data set", found, fix))
    remove_folder(paths.PHANTOM)
    if needed:
        write_phantom(params.phantom, paths.PHANTOM, params.machine.preprocess_workers)
    else:
        write_text(paths.PHANTOM / "README.txt", f"The data root is {params.data.root}, so there is no phantom here.\n")


def check_classes(data: DataParams) -> None:
    """Raise a `UserError` if the classes are not the 29 bones of the phantom, in any order."""
    missing, unknown = sorted(set(BONES) - set(data.classes)), sorted(set(data.classes) - set(BONES))
    if missing or unknown:
        expected = f"the phantom's {len(BONES)} bones ({BONES[0]} to {BONES[-1]})"
        found = ", ".join([f"no {name}" for name in missing] + [f"{name}, which it does not have" for name in unknown])
        fix = f"set data.classes to the {len(BONES)} bones, or data.root to your data"
        raise UserError(Problem("phantom.classes", "params.yaml: data.classes", expected, found, fix))


if __name__ == "__main__":
    run_stage(main)
