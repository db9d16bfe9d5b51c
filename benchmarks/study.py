"""`python -m benchmarks.study targets|ablation [--params FILE]`: trainings that differ in one thing -> a table in docs/training.md.

Each study makes its own data once, in a folder that git ignores, and trains the first fold; two trainings run side by side, a thread each.
What is known so far is written after each, so that a study that was stopped goes on with what is missing; to begin anew, remove
benchmarks/.study and the study's JSON.
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
from hashlib import sha256
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from tqdm import tqdm

from handbone.config.params import Params, load_params
from handbone.utils.errors import UserError, run

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/training.md"
SEEDS, FOLD = (1, 2, 3), 0
BASE, LOSS = "bce and dice", {"bce": 1.0, "dice": 1.0}  # what the ablation compares with
T_95 = 4.303  # Student's t of two degrees of freedom, two-sided 95 %
Changes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Variant:
    """What differs: keys by section; `target` in place of the project's own, or none of that; `like`: its trained model is taken;
    `after`: the trainings that come first, each from the weights of the one before it.
    """

    name: str
    changes: Changes = field(default_factory=dict)
    target: str = ""
    like: str = ""
    after: tuple[Changes, ...] = ()


@dataclass(frozen=True)
class Study:
    """Variants of what `base` makes of the parameters; the first of a group is what the others of the group are compared with."""

    base: Changes
    groups: tuple[tuple[Variant, ...], ...]


def _targets() -> Study:
    """Targets of phantoms of 1024 px; each network goes from size to size with its own kind of target."""
    lengths = {128: (24, 0.003), 256: (12, 0.002), 512: (4, 0.001)}  # size -> epochs, rate
    kinds = {"coverage": ("coverage", ""), "hard: half and more": ("hard", ""), "hard: INTER_NEAREST": ("coverage", "corner")}
    groups: list[list[Variant]] = [[] for _ in lengths]
    for kind, (target, replaced) in kinds.items():
        before: tuple[Changes, ...] = ()
        for group, (size, (epochs, rate)) in zip(groups, lengths.items(), strict=True):
            own = {"train": {"size": size, "epochs": epochs, "validate_every": epochs, "lr": rate, "target": target}}
            group.append(Variant(f"{kind}, {size} px", own, replaced, after=before))
            before = (*before, own)
    return Study({"phantom": {"size": 1024, "test_people": 1}, "train": {"loss": LOSS}}, tuple(map(tuple, groups)))


def _ablation() -> Study:
    """One thing at a time, from the parameters as they are but for the loss and fewer epochs."""
    plain = {"hflip": False, "vflip": False, "scales": [1.0], "window": 0, "stride": 0}
    changes: dict[str, Changes] = {
        "bce alone": {"train": {"loss": {"bce": 1.0}}},
        "dice alone": {"train": {"loss": {"dice": 1.0}}},
        "focal and dice": {"train": {"loss": {"focal": 1.0, "dice": 1.0}}},
        "no moving average": {"train": {"ema_decay": 0.0}},
        "augment: none": {"train": {"augment": []}},
        "augment: light": {"train": {"augment": "light"}},
        "augment: medium": {"train": {"augment": "medium"}},
        "augment: strong": {"train": {"augment": "strong"}},
    }
    trained = [Variant(name, {**own, "predict": plain}) for name, own in changes.items()]
    views = [
        Variant("mirrored as well", {"predict": {**plain, "hflip": True}}, like=BASE),
        Variant("scales 0.75, 1, 1.25", {"predict": {**plain, "scales": [0.75, 1.0, 1.25]}}, like=BASE),
        Variant("window 96, stride 48", {"predict": {**plain, "window": 96, "stride": 48}}, like=BASE),
    ]
    cropped = Variant("crops and window of 96", {"train": {"crop": 96}, "predict": {**plain, "window": 96, "stride": 48}})
    base = {"train": {"epochs": 24, "validate_every": 24, "loss": LOSS}}
    return Study(base, ((Variant(BASE, {"predict": plain}), *trained, *views, cropped),))


STUDIES: dict[str, Callable[[], Study]] = {"targets": _targets, "ablation": _ablation}


def changed(params: Params, changes: Changes) -> Params:
    """The parameters with sections' keys replaced, checked anew."""
    document = params.model_dump()
    for section, own in changes.items():
        document[section] |= own
    return Params.model_validate(document)


def prepare(folder: Path, params: Params) -> None:
    """Run the graph's stages up to the training in `folder`, unless they were run there with these parameters."""
    written = yaml.safe_dump(params.model_dump(), sort_keys=False)
    if (folder / "params.yaml").is_file() and (folder / "params.yaml").read_text() == written:
        return
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "params.yaml").write_text(written)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    for stage in ("phantom", "preprocess", "split", "pseudo"):
        if subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, check=False).returncode:
            (folder / "params.yaml").unlink()
            raise UserError(f"{folder}: expected the data of the study; found that {stage} failed; see above")


def trained(folder: Path, variant: Variant, params: Params, views: Mapping[str, Changes]) -> dict[str, float]:
    """Train the first fold -> the full-resolution Dice of its held-out images by each of the `views` (name -> changes of predict)."""
    from handbone.models.pretrained import read_weights  # this and the like import much, which only the process that trains needs

    if variant.target:
        from benchmarks.nearest import use

        use(variant.target)
    with TemporaryDirectory(dir=folder) as scratch:  # a place of its own for weights
        os.chdir(scratch)
        Path("data").symlink_to(folder / "data")
        Path("weights").mkdir()
        for file in (ROOT / "weights").iterdir():
            Path("weights", file.name).symlink_to(file)
        models = grown(folder, params, [*variant.after, variant.changes], variant.target)
        weights = read_weights(models / f"fold_{FOLD}" / "model.safetensors")
        return {name: scored(weights, changed(changed(params, variant.changes), changes)) for name, changes in views.items()}


def grown(folder: Path, params: Params, trainings: Sequence[Changes], target: str) -> Path:
    """The models' folder of the last of the trainings; each goes on from the one before it, and one that variants share is run once."""
    from stages.train import train_fold, write

    from handbone.training.checkpoint import Checkpoint
    from handbone.training.trainer import make_accelerator

    *before, last = trainings
    own = changed(params, last)
    if before:
        start = grown(folder, params, before, target)
        Path("weights", start.name).symlink_to(start)
        own = changed(own, {"model": {"weights": start.name}})
    models = folder / "trained" / sha256(f"{own.model_dump()} {target}".encode()).hexdigest()[:16]
    if not models.is_dir():
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), TemporaryDirectory() as resume:
            progress = train_fold(FOLD, own, make_accelerator(own.train.precision), Checkpoint(Path(resume)))
        write(FOLD, progress, own)
        models.parent.mkdir(exist_ok=True)
        Path("models").rename(models)
    return models


def scored(weights: Mapping[str, Any], params: Params) -> float:
    """The mean Dice of the fold's held-out images, predicted as `params.predict` says."""
    import numpy as np
    import torch
    from handbone.evaluation.heldout import heldout_counts
    from stages.train import THRESHOLD, make_model

    from handbone.evaluation.dice import dice
    from handbone.inference.predictor import InputSpec, predict
    from handbone.inference.tta import ensemble
    from handbone.training.data.fold import fold_samples

    model = make_model(params, FOLD).eval()
    model.load_state_dict(weights)
    files = fold_samples(FOLD, params).held["file"].tolist()
    feed = InputSpec(params.train.size, params.model.in_channels, params.predict.batch_size, torch.device("cpu"))
    counts = predict(ensemble([model], params.predict), files, feed, lambda index, found: heldout_counts(files[index], found, THRESHOLD))
    return float(dice(np.stack(list(counts))).mean())


def measure(name: str, params: Params, results: Path) -> dict[str, dict[str, float]]:
    """Train what is missing -> Dice by variant and seed."""
    study = STUDIES[name]()
    folder, base = ROOT / "benchmarks/.study" / results.stem, changed(params, study.base)
    prepare(folder, base)
    known: dict[str, dict[str, float]] = json.loads(results.read_text()) if results.is_file() else {}
    variants = [variant for group in study.groups for variant in group]
    jobs = []
    for variant in variants:
        views = {own.name: own.changes for own in variants if variant.name in (own.name, own.like)}
        if not variant.like:
            jobs += [(variant, seed, views) for seed in SEEDS if any(str(seed) not in known.get(view, {}) for view in views)]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        under_way = {
            pool.submit(trained, folder, variant, base.model_copy(update={"seed": seed}), views): seed for variant, seed, views in jobs
        }
        for done in tqdm(as_completed(under_way), total=len(jobs), desc=name, unit="training"):
            for view, dice in done.result().items():
                known.setdefault(view, {})[str(under_way[done])] = round(dice, 5)
            results.write_text(json.dumps({own.name: known[own.name] for own in variants if own.name in known}, indent=1) + "\n")
    return known


def table(study: Study, known: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown: mean and range over the seeds, and the paired difference from the group's first with its 95 % interval."""
    lines = ["| variant | Dice | lowest and highest | difference | 95 % interval |", "|---|---:|---:|---:|---:|"]
    for group in study.groups:
        first = known[group[0].name]
        for variant in group:
            own = known[variant.name]
            values, differences = list(own.values()), [own[seed] - first[seed] for seed in own]
            half = T_95 * stdev(differences) / len(differences) ** 0.5
            told = f"{mean(differences):+.4f} | ±{half:.4f}" if variant is not group[0] else " | "
            lines.append(f"| {variant.name} | {mean(values):.4f} | {min(values):.4f} {max(values):.4f} | {told} |")
    return "\n".join(lines)


def write(name: str, rows: str) -> None:
    """Put the table into the page, behind the paragraph that names its command, in place of the one that is there."""
    page = PAGE.read_text()
    end = (page + "\n\n").index("\n\n", page.index(f"`python -m benchmarks.study {name}`"))
    before, after = page[:end].rstrip("\n"), page[end:].strip("\n")
    if after.startswith("| variant |"):
        after = after.partition("\n\n")[2]
    PAGE.write_text("\n\n".join(part for part in (before, rows, after) if part).rstrip("\n") + "\n")


def main() -> None:
    """Measure, print, and, with the project's own parameters, write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description="Trainings that differ in one thing, over three seeds.")
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--params", help="another params.yaml, e.g. of another data set; its table is printed alone")
    arguments = parser.parse_args()
    params = load_params(arguments.params or ROOT / "params.yaml")
    stem = f"{arguments.study}_{Path(arguments.params).stem}" if arguments.params else arguments.study
    rows = table(STUDIES[arguments.study](), measure(arguments.study, params, ROOT / f"benchmarks/{stem}.json"))
    print(rows)
    if not arguments.params:
        write(arguments.study, rows)


if __name__ == "__main__":
    run(main)
