"""params.yaml as frozen, typed sections, read strictly: an unknown key, a wrong type or a value out of range is an error.

Nothing else in the package reads params.yaml: stages load it here and hand sections on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from handbone.config.yaml12 import read_yaml
from handbone.utils.errors import Problem, nearest, raise_if_any

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0)]
Above = Annotated[float, Field(gt=0)]
Transform = dict[str, dict[str, Any]]


class Section(BaseModel):
    """Base of every section: no unknown key, no silent conversion, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataParams(Section):
    """Where the data set lies, what its classes are, and what to make of its gaps."""

    root: str
    classes: Annotated[list[str], Field(min_length=1)]
    allow_missing: bool
    exclude: list[str]

    @field_validator("classes")
    @classmethod
    def _unique(cls, classes: list[str]) -> list[str]:
        if twice := sorted({name for name in classes if classes.count(name) > 1}):
            raise ValueError(f"each class once, but {', '.join(twice)} stands there more than once")
        return classes


class PhantomParams(Section):
    """The synthetic data set: how large, how many people, how many of them with a bent or turned wrist."""

    size: Annotated[int, Field(ge=64, le=2048)]
    train_people: Positive
    test_people: Positive
    bent_train: Fraction
    bent_test: Fraction
    seed: Count


class PreprocessParams(Section):
    """How images are cached: their size, null for the native one, and the clip limit of CLAHE, null for none. Masks keep full resolution."""

    size: Positive | None
    clahe: Above | None


class SplitParams(Section):
    """How people are dealt into folds."""

    n_folds: Annotated[int, Field(ge=2)]
    seed: Count


class ModelParams(Section):
    """The network; `options` holds constructor arguments for each architecture that wants some."""

    arch: str
    encoder: str | None
    weights: str | None
    in_channels: Literal[1, 3]
    options: dict[str, dict[str, Any]]


class TrainParams(Section):
    """One fold's training."""

    size: Annotated[int, Field(ge=32)]
    crop: Annotated[int, Field(ge=32)] | None
    target: Literal["coverage", "hard"]
    epochs: Positive
    batch_size: Positive
    grad_accum: Positive
    optimizer: Literal["adamw", "lion", "sgd"]
    lr: Above
    encoder_lr_mult: NotNegative
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    weight_decay: NotNegative
    schedule: Literal["cosine", "poly", "plateau", "constant"]
    warmup: Fraction
    max_grad_norm: Above | None
    loss: Annotated[dict[str, NotNegative | list[list[NotNegative]]], Field(min_length=1)]
    class_weights: dict[str, NotNegative]
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None
    swa_epochs: Positive | None
    patience: Positive | None
    freeze_batch_norm: bool
    validate_every: Positive
    precision: Literal["auto", "no", "fp16", "bf16"]
    deterministic: bool
    exclude: list[str]
    oversample: dict[str, NotNegative]
    augment: Literal["light", "medium", "strong"] | list[Transform]

    @field_validator("loss")
    @classmethod
    def _schedules(cls, loss: dict[str, float | list[list[float]]]) -> dict[str, float | list[list[float]]]:
        for name, points in loss.items():
            epochs = [point[0] for point in points if len(point) == 2] if isinstance(points, list) else [1.0]
            if not epochs or (isinstance(points, list) and len(epochs) < len(points)) or sorted(set(epochs)) != epochs:
                raise ValueError(f"a weight, or rising [epoch, weight] pairs such as [[1, 0.0], [20, 1.0]], for {name}; it is {points}")
        return loss

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.crop and self.crop > self.size:
            raise ValueError(f"crop to be null or at most size ({self.size}); it is {self.crop}")
        if self.swa_epochs and self.swa_epochs >= self.epochs:
            raise ValueError(f"swa_epochs to be less than epochs ({self.epochs}); it is {self.swa_epochs}")
        if self.swa_epochs and self.patience:
            raise ValueError("swa_epochs or patience to be null: the epochs to be averaged are the last ones, which patience may leave out")
        return self


class PseudoParams(Section):
    """Submission CSVs whose masks join the training folds; see stages/pseudo.py."""

    labels: str | None
    check: str | None
    agreement: Fraction
    weight: Annotated[float, Field(gt=0, le=1)]


class CrfParams(Section):
    """A dense CRF's kernels; the defaults are those of DeepLab V1 (LargeFOV), found on photographs 500 pixels wide.

    All lengths are pixels at the network's size, so the sigmas should grow with it. `bilateral_contrast` is in grey levels of 0..255, for
    an image of three channels: a grey image counts as three equal ones. `radius` and `stride` trade exactness for time.
    """

    iterations: Positive = 10
    gaussian_weight: NotNegative = 3.0
    gaussian_sigma: Above = 3.0
    bilateral_weight: NotNegative = 5.0
    bilateral_sigma: Above = 50.0
    bilateral_contrast: Above = 10.0
    radius: Positive = 50
    stride: Positive = 4


class InferParams(Section):
    """How probabilities are made, for the held-out people and the test set alike."""

    window_size: Positive | None
    window_stride: Positive | None
    hflip: bool
    vflip: bool
    scales: Annotated[list[Above], Field(min_length=1)]
    crf: CrfParams | None
    batch_size: Positive

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.window_size is None) != (self.window_stride is None):
            raise ValueError(f"window_size and window_stride both or neither; they are {self.window_size} and {self.window_stride}")
        if self.window_size and self.window_stride and self.window_stride > self.window_size:
            raise ValueError(f"window_stride to be at most window_size ({self.window_size}); it is {self.window_stride}")
        return self


class DecideParams(Section):
    """How probabilities become masks, for the held-out people and the test set alike; no network runs for it."""

    threshold: Annotated[float, Field(gt=0, lt=1)]


class ReportParams(Section):
    """What the page shows."""

    cases: Positive


class MachineParams(Section):
    """What the machine can carry. No result depends on it, so no stage reruns when it changes."""

    preprocess_workers: Positive | None
    num_workers: Count
    gpus_per_fold: Positive
    resume_dir: str | None


class Params(Section):
    """The whole of params.yaml."""

    seed: Count
    data: DataParams
    phantom: PhantomParams
    preprocess: PreprocessParams
    split: SplitParams
    pseudo: PseudoParams
    folds: Annotated[list[Count], Field(min_length=1)]
    model: ModelParams
    train: TrainParams
    infer: InferParams
    decide: DecideParams
    report: ReportParams
    machine: MachineParams

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        wrong = [fold for fold in self.folds if fold >= self.split.n_folds]
        if wrong or len(set(self.folds)) != len(self.folds):
            known = f"0 to {self.split.n_folds - 1}, as split.n_folds is {self.split.n_folds}"
            raise ValueError(f"folds to be different numbers from {known}; it is {self.folds}")
        if self.preprocess.size and self.preprocess.size < self.train.size:
            raise ValueError(f"preprocess.size to be null or at least train.size ({self.train.size}); it is {self.preprocess.size}")
        if unknown := [name for name in self.train.class_weights if name not in self.data.classes]:
            raise ValueError(f"train.class_weights of names in data.classes; found {', '.join(unknown)}")
        return self


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check the whole file; a `UserError` lists every key that is unknown, missing or out of range."""
    path = Path(path)
    document = read_yaml(path)
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        raise_if_any([_problem(path, dict(details)) for details in error.errors()], f"{path} cannot be used")
        raise


def _problem(path: Path, error: dict[str, Any]) -> Problem:
    key = ".".join(str(part) for part in error["loc"]) or "the whole"
    where = f"{path}: {key}"
    if error["type"] == "extra_forbidden":
        return Problem(where, "a known parameter", "no such parameter", nearest(key, parameter_names()))
    if error["type"] == "missing":
        return Problem(where, "a value", "nothing", "copy the key from presets/demo.yaml")
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(where, message, repr(error["input"])[:80], "change the value")


def parameter_names() -> list[str]:
    """Every key of params.yaml as a dotted path, e.g. `model.arch`."""
    names = []
    for name, field in Params.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            names += [f"{name}.{key}" for key in section.model_fields]
        else:
            names.append(name)
    return names
