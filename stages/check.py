"""Before the first stage of a run: says what params.yaml changes, and refuses names that a later stage would not know.

No stage of the graph but a command before those that can be the first and those that take long, so that no result depends on its code.
It takes seconds, and returns at once for a params.yaml that has passed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from handbone.utils.errors import Problem, UserError, all_of
from stages import run_stage

if TYPE_CHECKING:
    from handbone.config.params import Params

PASSED = Path(".dvc/tmp/checked")  # an empty file for each document that has passed
Check = Callable[[], object]


def mark(document: str) -> Path:
    """The file that says that a document has passed."""
    return PASSED / hashlib.sha256(document.encode()).hexdigest()


def require_source(path: Path, key: str) -> None:
    """Raise a `UserError` if there is no file or folder `path`, which the parameter `key` names."""
    if not path.exists():
        fix = f"put it there, or set {key} to null"
        raise UserError(Problem("params.source", str(path), f"the file that {key} names", "none", fix))


def file_checks(params: Params) -> Iterator[Check]:
    """One function for each file that a parameter names, which raises a `UserError` if there is none."""
    from handbone.config import paths
    from handbone.config.params import CURRENT
    from handbone.evaluation.members import read_pin

    yield partial(require_source, paths.init_weights(params.model.weights), "model.weights")
    for key in ("labels", "check"):
        yield partial(require_source, paths.PSEUDO_SOURCES / str(getattr(params.pseudo, key)), f"pseudo.{key}")
    yield from (partial(read_pin, paths.pin(name)) for name in params.decide.ensemble if name != CURRENT)


def network_checks(params: Params) -> Iterator[Check]:
    """One function for each thing that the code has by name, which raises a `UserError` if it cannot be built."""
    from handbone.models.registry import build_model, spec_from_params
    from handbone.training.data.augment import Augmenter
    from handbone.training.losses import build_loss

    model, train, classes = params.model, params.train, params.data.classes
    yield lambda: build_model(spec_from_params(model, classes))
    yield lambda: build_loss(train.loss, [train.class_weights.get(name, 1.0) for name in classes], params.data.exclusive)
    yield lambda: Augmenter(train.augment, model.in_channels)


def say_changes() -> None:
    """Print what params.yaml has otherwise than the commit."""
    from handbone.config import paths
    from handbone.provenance.uncommitted import describe, uncommitted_params

    for line in describe(uncommitted_params(Path(), paths.METRICS)):
        print(line, flush=True)


def main() -> None:
    """Run the checks."""
    file = Path("params.yaml")
    passed = [mark(file.read_text(encoding="utf-8", errors="replace"))] if file.is_file() else []
    if passed and passed[0].exists():
        return
    from handbone.config.params import load_params

    say_changes()
    params = load_params()
    passed.append(mark(params.model_dump_json(include={"data": {"classes", "exclusive"}, "model": True, "train": True})))
    all_of("params.yaml cannot be used", *file_checks(params), *([] if passed[1].exists() else network_checks(params)))
    PASSED.mkdir(parents=True, exist_ok=True)
    for document in passed:
        document.touch()


if __name__ == "__main__":
    run_stage(main)
