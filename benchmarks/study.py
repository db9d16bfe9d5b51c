"""`python -m benchmarks.study targets|ablation [--params FILE]`: trainings that differ in one thing -> a table in docs/training.md.

A study makes its data once, in a folder that git ignores, and trains the first fold; two trainings run at a time, with one thread each.
The results so far are written after each training, so a study that was stopped resumes with the missing ones.
To start from the beginning, remove benchmarks/.study and the study's JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from handbone.cli.params_yaml import params_text
from handbone.cli.preset import preset_params
from handbone.config import paths
from handbone.config.params import Params, load_params, mirrored_classes
from handbone.utils.errors import Problem, UserError, run_cli
from handbone.utils.io import replacing, write_json, write_text

if TYPE_CHECKING:  # importing these takes seconds, and only the processes that train need them
    from handbone.training.data.fold import TrainFiles
    from handbone.training.init_weights import InitWeights
    from handbone.training.state import Progress

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/training.md"
SEEDS, FOLD, THRESHOLD = (1, 2, 3), 0, 0.5
BASE, LOSS = "bce and dice", {"bce": 1.0, "dice": 1.0}  # the variant that the ablation compares with
T_95 = 4.303  # Student's t of two degrees of freedom, two-sided 95 %
Changes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    changes: of the parameters, keys by section; target: a key of `benchmarks.nearest.TARGETS` that replaces the project's target, "" for
    none; like: the variant whose trained model is used, so that only the prediction differs; after: the trainings before, each from
    the weights of the one before it.
    """

    name: str
    changes: Changes = field(default_factory=dict)
    target: str = ""
    like: str = ""
    after: tuple[Changes, ...] = ()


@dataclass(frozen=True)
class Study:
    """base: changes for all variants; groups: the first variant of a group is the one with which the others are compared."""

    base: Changes
    groups: tuple[tuple[Variant, ...], ...]


def _targets() -> Study:
    """Targets of phantoms of 1024 px; each network is trained at one size after the other with one kind of target."""
    lengths = {128: (24, 0.003), 256: (12, 0.002), 512: (4, 0.001)}  # size -> epochs, rate
    kinds = {"coverage": ("coverage", ""), "hard: half and more": ("hard", ""), "hard: INTER_NEAREST": ("coverage", "hard: INTER_NEAREST")}
    groups: list[list[Variant]] = [[] for _ in lengths]
    for kind, (target, replaced) in kinds.items():
        before: tuple[Changes, ...] = ()
        for group, (size, (epochs, rate)) in zip(groups, lengths.items(), strict=True):
            changes = {"train": {"size": size, "epochs": epochs, "validate_every": epochs, "lr": rate, "target": target}}
            group.append(Variant(f"{kind}, {size} px", changes, replaced, after=before))
            before = (*before, changes)
    return Study({"phantom": {"size": 1024, "test_people": 1}, "train": {"loss": LOSS}}, tuple(map(tuple, groups)))


def _ablation() -> Study:
    """One change at a time, compared with the parameters as they are except for the loss and fewer epochs."""
    plain = {"hflip": False, "vflip": False, "scales": [1.0], "window_size": None, "window_stride": None}
    windows = {**plain, "window_size": 96, "window_stride": 48}
    changes: dict[str, Changes] = {
        "bce alone": {"train": {"loss": {"bce": 1.0}}},
        "dice alone": {"train": {"loss": {"dice": 1.0}}},
        "focal and dice": {"train": {"loss": {"focal": 1.0, "dice": 1.0}}},
        "no moving average": {"train": {"ema_decay": None}},
        "augment: none": {"train": {"augment": []}},
        "augment: light": {"train": {"augment": "light"}},
        "augment: medium": {"train": {"augment": "medium"}},
        "augment: strong": {"train": {"augment": "strong"}},
    }
    trained = [Variant(name, {**change, "infer": plain}) for name, change in changes.items()]
    views = [
        Variant("mirrored as well", {"infer": {**plain, "hflip": True}}, like=BASE),
        Variant("scales 0.75, 1, 1.25", {"infer": {**plain, "scales": [0.75, 1.0, 1.25]}}, like=BASE),
        Variant("window 96, stride 48", {"infer": windows}, like=BASE),
    ]
    cropped = Variant("crops and window of 96", {"train": {"crop": 96}, "infer": windows})
    base = {"train": {"epochs": 24, "validate_every": 24, "loss": LOSS}}
    return Study(base, ((Variant(BASE, {"infer": plain}), *trained, *views, cropped),))


STUDIES: dict[str, Callable[[], Study]] = {"targets": _targets, "ablation": _ablation}


def changed(params: Params, changes: Changes) -> Params:
    """The parameters with some keys of sections replaced. Raises pydantic's `ValidationError` if a value is not allowed."""
    document = params.model_dump()
    for section, values in changes.items():
        document[section] |= values
    return Params.model_validate(document)


def prepare(folder: Path, params: Params) -> None:
    """Run the stages before the training in `folder`, unless they have run there with these parameters."""
    text = params_text(params, "Written by `python -m benchmarks.study`.")
    if (folder / "params.yaml").is_file() and (folder / "params.yaml").read_text() == text:
        return
    write_text(folder / "params.yaml", text)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    for stage in ("phantom", "preprocess", "split", "pseudo"):
        if subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, check=False).returncode:
            (folder / "params.yaml").unlink()
            raise UserError(Problem("study.data", str(folder), "the study's data", f"that the stage {stage} failed", "see its error above"))


def train_and_score(folder: Path, variant: Variant, params: Params, views: Mapping[str, Changes]) -> dict[str, float]:
    """Train the first fold with the data in `folder` -> the full-resolution Dice of its held-out images for each of `views`.

    views: changes of the parameters by name; those of `infer` count.
    """
    from handbone.models.pretrained import read_weights

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        file = _trained(folder, params, [*variant.after, variant.changes], variant.target)
    weights = read_weights(file)
    return {name: _score(folder, weights, changed(changed(params, variant.changes), changes)) for name, changes in views.items()}


def _trained(folder: Path, params: Params, trainings: Sequence[Changes], target: str) -> Path:
    """The weights after the last of `trainings`; each starts from the one before it, and one that variants share runs once."""
    from safetensors.torch import save_file

    from handbone.training.init_weights import InitWeights, resolve_init_weights

    *before, last = trainings
    params = changed(params, last)
    if before:
        start = InitWeights(_trained(folder, params, before, target), of_experiment=True)
    else:
        source = ROOT / paths.init_weights(params.model.weights)
        start = resolve_init_weights(params, FOLD, source, paths.fold_model(FOLD).name, folder / paths.FOLDS)
    name = start.file.name if start.file else params.model.weights
    key = sha256(f"{params.model_dump()} {target} {name}".encode()).hexdigest()[:16]
    file = folder / "trained" / f"{key}.safetensors"
    if not file.is_file():
        progress = _train(folder, params, start, target)
        with replacing(file) as partial_file:
            save_file({name: tensor.contiguous() for name, tensor in progress.best_weights.items()}, partial_file)
    return file


def _train(folder: Path, params: Params, start: InitWeights, target: str) -> Progress:
    """One training, as `FoldTraining` does it, with another target if `target` names one."""
    import torch

    from benchmarks.nearest import TARGETS, with_target
    from handbone.evaluation.decision import Decision
    from handbone.evaluation.model_dice import model_dice
    from handbone.inference.predictor import InputSpec
    from handbone.training.checkpoint import Checkpoint
    from handbone.training.data.fold import fold_samples
    from handbone.training.data.loader import make_loader
    from handbone.training.distributed import make_accelerator
    from handbone.training.init_weights import make_model
    from handbone.training.seeding import fold_seed
    from handbone.training.trainer import Trainer

    samples, seed = fold_samples(FOLD, params, _files(folder)), fold_seed(params.seed, FOLD)
    torch.manual_seed(seed)
    model = make_model(params, start)
    loader, batches = make_loader(samples.train, params, seed)
    if target:
        loader = with_target(TARGETS[target], samples.train, params, seed, batches)
    accelerator = make_accelerator(params.train.precision)
    class_weights = [params.train.class_weights.get(name, 1.0) for name in params.data.classes]
    trainer = Trainer(model, loader, batches, params.train, class_weights, seed, accelerator)
    batch_size, device = params.train.images_per_batch, accelerator.device
    inputs = InputSpec(params.train.size, params.model.in_channels, batch_size, device, params.train.precision)
    score = partial(model_dice, files=samples.val_files(), inputs=inputs, window=params.train.crop, decision=Decision(THRESHOLD))
    with TemporaryDirectory() as resume:
        return trainer.fit(score, Checkpoint(Path(resume)), "study")


def _files(folder: Path) -> TrainFiles:
    from handbone.training.data.fold import TrainFiles

    tables = (paths.TRAIN_INDEX, paths.AREAS, paths.FOLDS, paths.PSEUDO_INDEX)
    index, areas, folds, pseudo = (folder / table for table in tables)
    return TrainFiles(
        index, areas, folds, pseudo, lambda key: folder / paths.cached_sample("train", key), lambda key: folder / paths.pseudo_sample(key)
    )


def _score(folder: Path, weights: Mapping[str, Any], params: Params) -> float:
    """The mean Dice of the fold's held-out images, predicted as `params.infer` says."""
    import numpy as np
    import torch

    from handbone.cache.sample import read_masks
    from handbone.evaluation.decision import Decision, decided_counts
    from handbone.evaluation.dice import dice
    from handbone.inference.predictor import InputSpec, predict
    from handbone.inference.tta import ensemble
    from handbone.models.registry import build_model, spec_from_params
    from handbone.training.data.fold import fold_samples

    model = build_model(spec_from_params(params.model, params.data.classes)).eval()
    model.load_state_dict(weights)
    files = fold_samples(FOLD, params, _files(folder)).val_files()
    inputs = InputSpec(params.train.size, params.model.in_channels, params.infer.batch_size, torch.device("cpu"), params.train.precision)
    predicted = predict(ensemble([model], params.infer, mirrored_classes(params.data.classes, params.data.mirror)), files, inputs)
    counts = [decided_counts([maps], read_masks(files[key]), Decision(THRESHOLD)) for key, maps in predicted]
    return float(dice(np.stack(counts)).mean())


def measure(name: str, params: Params, results: Path) -> dict[str, dict[str, float]]:
    """Run the trainings whose results are missing -> Dice by variant and seed."""
    study = STUDIES[name]()
    folder, base = ROOT / "benchmarks/.study" / results.stem, changed(params, study.base)
    prepare(folder, base)
    known: dict[str, dict[str, float]] = json.loads(results.read_text()) if results.is_file() else {}
    variants = [variant for group in study.groups for variant in group]
    jobs = []
    for variant in variants:
        views = {view.name: view.changes for view in variants if variant.name in (view.name, view.like)}
        if not variant.like:
            jobs += [(variant, seed, views) for seed in SEEDS if any(str(seed) not in known.get(view, {}) for view in views)]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {
            pool.submit(train_and_score, folder, variant, base.model_copy(update={"seed": seed}), views): seed
            for variant, seed, views in jobs
        }
        for done in tqdm(as_completed(running), total=len(jobs), desc=name, unit="training"):
            for view, dice in done.result().items():
                known.setdefault(view, {})[str(running[done])] = round(dice, 5)
            write_json(results, {variant.name: known[variant.name] for variant in variants if variant.name in known})
    return known


def table(study: Study, known: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown: mean and range over the seeds, and the paired difference from the first of the group with its 95 % interval."""
    lines = ["| variant | Dice | lowest and highest | difference | 95 % interval |", "|---|---:|---:|---:|---:|"]
    for group in study.groups:
        first = known[group[0].name]
        for variant in group:
            by_seed = known[variant.name]
            values, differences = list(by_seed.values()), [by_seed[seed] - first[seed] for seed in by_seed]
            half = T_95 * stdev(differences) / len(differences) ** 0.5
            difference = f"{mean(differences):+.4f} | ±{half:.4f}" if variant is not group[0] else " | "
            lines.append(f"| {variant.name} | {mean(values):.4f} | {min(values):.4f} {max(values):.4f} | {difference} |")
    return "\n".join(lines)


def write(name: str, rows: str) -> None:
    """Put the table into the page after the paragraph that names its command, and replace the old table."""
    page = PAGE.read_text()
    end = (page + "\n\n").index("\n\n", page.index(f"`python -m benchmarks.study {name}`"))
    before, after = page[:end].rstrip("\n"), page[end:].strip("\n")
    if after.startswith("| variant |"):
        after = after.partition("\n\n")[2]
    write_text(PAGE, "\n\n".join(part for part in (before, rows, after) if part).rstrip("\n") + "\n")


def main() -> None:
    """Measure and print; for the demo also write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description="Trainings that differ in one thing, over three seeds.")
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--params", help="a params.yaml, e.g. of another data set, instead of the demo; the table is only printed")
    arguments = parser.parse_args()
    params = load_params(arguments.params) if arguments.params else preset_params("demo", ROOT / "presets")
    stem = f"{arguments.study}_{Path(arguments.params).stem}" if arguments.params else arguments.study
    rows = table(STUDIES[arguments.study](), measure(arguments.study, params, ROOT / f"benchmarks/{stem}.json"))
    print(rows)
    if not arguments.params:
        write(arguments.study, rows)


if __name__ == "__main__":
    run_cli(main)
