"""params.yaml as frozen, typed sections. Each key's default, bounds and description are here, at its field, and nowhere else.

Reading is strict: an unknown or missing key, a wrong type and a value out of range are errors, reported all at once.
Stages and commands load the file and pass sections on; nothing else in the package reads it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from handbone.config.yaml12 import read_yaml
from handbone.utils.errors import Problem, nearest, raise_if_any
from handbone.utils.names import composed

BONES = (  # the classes of the first competition
    *(f"finger-{number}" for number in range(1, 20)),
    *("Trapezium", "Trapezoid", "Capitate", "Hamate", "Scaphoid", "Lunate", "Triquetrum", "Pisiform", "Radius", "Ulna"),
)
CURRENT = "current"  # the member that stands for the run of this working tree
SIGMOID_LOSSES = ("bce", "focal", "lovasz", "boundary")  # those of independent classes only
SOFTMAX_LOSSES = ("cross_entropy",)  # those of exclusive classes only
MEMBER_NAME = "^[A-Za-z][A-Za-z0-9_-]{0,63}$"  # letters, digits, _ and -: a file's name, and a key that -S can name
AUGMENT: list[dict[str, dict[str, Any]]] = [
    {"HorizontalFlip": {"p": 0.5}},
    {"Affine": {"rotate": [-20, 20], "scale": [0.9, 1.1], "translate_percent": [-0.05, 0.05], "p": 0.9}},
    {"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 0.5}},
]

KINDS = {  # what pydantic's kinds of errors expect; with a key before it: of this value
    "bool_type": "true or false",
    "dict_type": "names with values",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a section: keys with values",
    "string_pattern_mismatch": "a letter, and up to 63 more letters, digits, _ and -",  # only names of members have a pattern
    "string_type": "a text",
    "train.augment.list_type": "a list of transforms",
    "train.augment.dict_type": "a list of transforms with their arguments, such as [{HorizontalFlip: {p: 0.5}}]",
}

Weight = Annotated[float, Field(ge=0, le=1000)]
MemberName = Annotated[str, Field(pattern=MEMBER_NAME)]
Rule = tuple[bool, str, str, object]  # holds, key, expected, found


def _require(*rules: Rule) -> None:
    """Raise one error inside a validator that carries (key, expected, found) of every rule that does not hold."""
    if broken := [rule[1:] for rule in rules if not rule[0]]:
        raise PydanticCustomError("rules", "{broken}", {"broken": broken})


def _repeated(names: Iterable[str]) -> list[str]:
    """The names that are there more than once, in the same spelling of Unicode or in another, which looks the same."""
    counts = Counter(map(composed, names))
    return [name for name, count in counts.items() if count > 1]


def _quoted(names: Any) -> Any:
    """`names`, unchanged, if YAML has read none of them as a number, true, false or null; classes are often numbers."""
    unquoted = [name for name in names if not isinstance(name, str)] if isinstance(names, list) else []
    plain = unquoted and not any(isinstance(name, (list, dict)) for name in unquoted)
    _require((not plain, "", 'texts, numbers in quotes: "11"', ", ".join(map(_shown, unquoted))))
    return names


def _each_once(names: list[str]) -> list[str]:
    """`names`, if none is there more than once."""
    repeated = _repeated(names)
    _require((not repeated, "", "each name once", f"{', '.join(repeated)} more than once"))
    return names


EachOnce = AfterValidator(_each_once)
Names = Annotated[list[str], BeforeValidator(_quoted)]


def _is_schedule(points: list[list[float]]) -> bool:
    """Whether `points` are [epoch, weight] pairs, at least one, with rising epochs."""
    epochs = [point[0] for point in points if len(point) == 2]
    return 0 < len(epochs) == len(points) and sorted(set(epochs)) == epochs


def _is_used(weight: float | list[list[float]]) -> bool:
    """Whether a loss has a weight above 0 in some epoch."""
    return any(point[-1] > 0 for point in weight) if isinstance(weight, list) else weight > 0


class Section(BaseModel):
    """Base of every section: no unknown key, no silent conversion, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataParams(Section):
    """The data set, its classes, and what to leave out."""

    root: str = Field(
        "data/raw",
        min_length=1,
        description="folder that holds train/ (and test/); for data/phantom the graph makes the synthetic data set",
    )
    classes: Names = Field(list(BONES), min_length=1, description="label names, in the order of the submission")
    mirror: dict[str, str] = Field(
        {}, description='pairs of classes that swap when an image is mirrored, each once: {"11": "21"}; others stay themselves'
    )
    allow_missing: bool = Field(False, description="true: an image need not show every class")
    exclusive: bool = Field(
        False,
        description="true: a pixel has one class, by softmax and argmax, or is void: neither learned nor scored (docs/exclusive.md)",
    )
    exclude: Names = Field([], description="people (ID058) or samples (ID363/image1661392103627) to leave out")

    @field_validator("classes")
    @classmethod
    def _different(cls, classes: list[str]) -> list[str]:
        repeated = _repeated(classes)
        broken = [ascii(name) for name in classes if any("\ud800" <= letter <= "\udfff" for letter in name)]
        _require(
            (not repeated, "", "each class once", f"{', '.join(repeated)} more than once"),
            (not broken, "", "names that UTF-8 can write", ", ".join(broken)),
        )
        return classes

    @field_validator("mirror", mode="before")
    @classmethod
    def _quoted_pairs(cls, mirror: Any) -> Any:
        names = [name for pair in mirror.items() for name in pair] if isinstance(mirror, dict) else []
        unquoted = [name for name in names if not isinstance(name, str)]
        _require((not unquoted, "", 'names, numbers in quotes: {"11": "21"}', ", ".join(map(str, unquoted))))
        return mirror

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        names = [name for pair in self.mirror.items() for name in pair]
        unknown = [name for name in dict.fromkeys(names) if name not in self.classes]
        repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        _require(
            (not unknown, "mirror", "names in data.classes", ", ".join(unknown)),
            (not repeated, "mirror", "each class in one pair, which is given once, and with another class", ", ".join(repeated)),
        )
        return self


class PhantomParams(Section):
    """The synthetic data set, made only if data.root is data/phantom."""

    size: int = Field(512, ge=64, le=2048, description="pixels, width and height")
    train_people: int = Field(20, ge=1, description="people in the training set, two images each")
    test_people: int = Field(8, ge=1, description="people in the test set, two images each")
    bent_train: float = Field(0.12, ge=0, le=1, description="share of training people with bent wrists, as in the real data")
    bent_test: float = Field(0.58, ge=0, le=1, description="share of test people with bent wrists, as in the real data")
    seed: int = Field(7, ge=0, description="random seed of the whole data set")


class PreprocessParams(Section):
    """How images are cached. Masks are always cached at full resolution."""

    size: int | None = Field(None, ge=1, description="pixels, longer side of the cached image; null: native size")
    max_pixels: int = Field(
        100_000_000,
        ge=1,
        le=2**30,
        description="most pixels, width times height, of an image; a larger one is refused before it takes memory",
    )
    clahe: float | None = Field(None, gt=0, description="clip limit of CLAHE (local contrast) for training and test images; null: off")


class SplitParams(Section):
    """How people are assigned to folds."""

    n_folds: int = Field(5, ge=2, description="number of folds; no person is in two of them")
    seed: int = Field(1, ge=0, description="random seed, decides between people with equally many images")
    stratify: Annotated[Names, EachOnce] = Field(
        [],
        description="what to balance over folds: attributes of people.csv, classes (those that not all images show), shape (poses)",
    )


class PseudoParams(Section):
    """Pseudo-labels: masks from submissions that join the training images of every fold, never the validation images."""

    labels: str | None = Field(None, description="submission CSV in pseudo/ to take masks from; null: off")
    check: str | None = Field(None, description="second CSV in pseudo/ that has to agree with it; null: no check")
    agreement: float = Field(0.95, ge=0, le=1, description="lowest mean Dice of the two CSVs with which an image is used")
    weight: float = Field(0.5, gt=0, le=1, description="weight of a pseudo-labelled image in the loss; an annotated image has 1")


class ModelParams(Section):
    """The network."""

    arch: str = Field("Unet", description="any name of docs/models.md, in upper or lower case")
    encoder: str | None = Field(
        "resnet34", description="encoder of segmentation-models-pytorch, or tu-<name> of timm; null: the architecture's default"
    )
    weights: str | None = Field(
        "imagenet", description="imagenet: pretrained encoder; a file or folder in weights/: initial weights; null: random"
    )
    in_channels: Literal[1, 3] = Field(1, description="1: grey; 3: colour (grey images are repeated)")
    options: dict[str, dict[str, Any]] = Field({}, description="constructor arguments by architecture; only those of model.arch are used")


class TrainParams(Section):
    """Training of one fold."""

    size: int = Field(512, ge=32, description="pixels, longer side of the network's input; images are never enlarged")
    crop: int | None = Field(None, ge=32, description="pixels, side of the random windows to train on; null: whole images")
    target: Literal["coverage", "hard"] = Field(
        "coverage", description="coverage: share of each pixel inside the mask; hard: 1 from half of it on"
    )
    epochs: int = Field(60, ge=1, description="passes over the training images")
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        8, description="images per batch; auto: as many as the GPU's memory holds, at most 32"
    )
    grad_accum: int = Field(1, ge=1, description="gradient accumulation steps: batches per step of the optimiser")
    optimizer: Literal["adamw", "lion", "sgd"] = Field("adamw", description="adamw, lion, sgd")
    lr: float = Field(0.0003, gt=0, description="peak learning rate")
    encoder_lr_mult: float = Field(1.0, ge=0, description="factor on the encoder's learning rate; 0: the encoder is frozen")
    layer_decay: float = Field(1.0, gt=0, le=1, description="factor on the learning rate from each encoder stage to the stage before it")
    weight_decay: float = Field(0.01, ge=0, description="weight decay; biases and norm layers have none")
    schedule: Literal["cosine", "poly", "plateau", "constant"] = Field(
        "cosine", description="learning rate schedule: cosine, poly, plateau (halved when the Dice stalls), constant"
    )
    warmup: float = Field(0.1, ge=0, le=1, description="share of all steps in which the learning rate rises to its peak")
    max_grad_norm: float | None = Field(None, gt=0, description="maximum gradient norm; null: no clipping")
    loss: dict[str, Weight | list[list[Weight]]] = Field(
        {"bce": 1.0, "dice": 1.0},
        min_length=1,
        description="weights of bce, focal, dice, jaccard, tversky, lovasz, boundary, cross_entropy; or [[epoch, weight], ...]",
    )
    class_weights: dict[str, Weight] = Field({}, description="weight of a class in the loss, by name; 1 for all others")
    ema_decay: float | None = Field(
        0.999, gt=0, lt=1, description="decay of the weights' exponential moving average, which is scored and kept; null: off"
    )
    swa_epochs: int | None = Field(None, ge=1, description="last epochs whose weights are averaged instead (SWA); null: off")
    patience: int | None = Field(None, ge=1, description="scores without a new best before training stops early; null: never")
    freeze_batch_norm: bool = Field(False, description="true: batch norm keeps its statistics, for batches of one or two images")
    validate_every: int = Field(5, ge=1, description="epochs between two full-resolution scores; the best epoch is kept")
    precision: Literal["auto", "no", "fp16", "bf16"] = Field(
        "auto", description="auto: bf16 or fp16 if the GPU supports it; no, fp16, bf16"
    )
    compile: Literal["auto"] | bool = Field(
        "auto", description="true: compile network and loss with torch.compile; auto: on one GPU, for a training of 2000 steps or more"
    )
    deterministic: bool = Field(False, description="true: same bits in every run on a GPU too, but slower; a CPU always gives them")
    exclude: Names = Field([], description="people or samples that are validated but never trained on")
    oversample: dict[str, Weight] = Field(
        {}, description="how often an image is drawn per epoch, by class, person, sample or attribute (sex=f) of people.csv"
    )
    augment: Literal["light", "medium", "strong"] | list[dict[str, dict[str, Any]]] = Field(
        AUGMENT, description="light, medium, strong, or albumentations transforms in order, with their arguments"
    )

    @property
    def images_per_batch(self) -> int:
        """`batch_size`, where it is a number: the stage replaces `auto` before anything else reads it. A ValueError for `auto`."""
        if self.batch_size == "auto":
            raise ValueError("train.batch_size is still auto")
        return self.batch_size

    @field_validator("loss")
    @classmethod
    def _schedules(cls, loss: dict[str, float | list[list[float]]]) -> dict[str, float | list[list[float]]]:
        expected = "a weight, or [epoch, weight] pairs with rising epochs such as [[1, 0.0], [20, 1.0]]"
        _require(*((_is_schedule(points), name, expected, points) for name, points in loss.items() if isinstance(points, list)))
        return loss

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        swa, repeated = self.swa_epochs or 0, _repeated(self.oversample)
        both = "null if swa_epochs is set: SWA needs the last epochs, and patience may skip them"
        _require(
            (self.crop is None or self.crop <= self.size, "crop", f"null or at most train.size ({self.size})", self.crop),
            (swa < self.epochs, "swa_epochs", f"null or less than train.epochs ({self.epochs})", swa),
            (not (swa and self.patience), "patience", both, self.patience),
            (not repeated, "oversample", "each name once", f"{', '.join(repeated)} in two spellings of Unicode"),
            (any(map(_is_used, self.loss.values())), "loss", "at least one weight above 0, else nothing is learned", self.loss),
        )
        return self


class CrfParams(Section):
    """Dense CRF; the defaults are those of DeepLab V1 (LargeFOV), found on photographs 500 pixels wide.

    Lengths are pixels at the network's size, so the sigmas should grow with it.
    """

    iterations: int = Field(10, ge=1, description="mean-field iterations")
    gaussian_weight: float = Field(3.0, ge=0, description="weight of the smoothness kernel")
    gaussian_sigma: float = Field(3.0, gt=0, description="pixels, width of the smoothness kernel")
    bilateral_weight: float = Field(5.0, ge=0, description="weight of the appearance kernel")
    bilateral_sigma: float = Field(50.0, gt=0, description="pixels, width of the appearance kernel")
    bilateral_contrast: float = Field(
        10.0, gt=0, description="grey levels of 0..255, over three channels: a grey image counts as three equal ones"
    )
    radius: int = Field(50, ge=1, description="pixels, neighbours farther away are ignored; smaller is faster and less exact")
    stride: int = Field(4, ge=1, description="pixels between the neighbours used; larger is faster and less exact")


class InferParams(Section):
    """How networks compute probabilities, for held-out people and the test set alike."""

    window_size: int | None = Field(None, ge=1, description="pixels at the network's size, side of a sliding window; null: the whole image")
    window_stride: int | None = Field(None, ge=1, description="pixels between two windows; null only if window_size is null")
    hflip: bool = Field(True, description="also predict the image mirrored left to right, and average")
    vflip: bool = Field(False, description="also predict the image mirrored top to bottom, and average")
    scales: list[Annotated[float, Field(gt=0)]] = Field(
        [1.0], min_length=1, description="sizes to predict at and average, as factors of train.size"
    )
    crf: CrfParams | None = Field(
        None, description="dense CRF after the network: {} for DeepLab V1's, or its settings (docs/models.md); null: off"
    )
    batch_size: int = Field(8, ge=1, description="images per batch")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        size, stride = self.window_size, self.window_stride
        _require(
            ((size is None) == (stride is None), "window_stride", f"null if and only if infer.window_size is null ({size})", stride),
            ((stride or 0) <= (size or stride or 0), "window_stride", f"at most infer.window_size ({size})", stride),
        )
        return self


class DecideParams(Section):
    """How probabilities become masks, for held-out people and the test set alike; no network runs."""

    threshold: Literal["per_class"] | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.5, description="probability at full resolution above which a pixel counts as the class; per_class: searched; null: argmax"
    )
    clean_up: Annotated[list[Literal["largest", "min_area", "fill_holes"]], EachOnce] = Field(
        [], description="what to try per class: largest component only, no small components, filled holes; [] is off"
    )
    members: dict[MemberName, Annotated[int, Field(ge=0, le=1000)]] = Field(
        {}, description="weights of the experiments to join, by name: {current: 1, unet: 2}; current: this one; others: members/*.dvc"
    )
    weights: Literal["given", "greedy", "per_class"] = Field(
        "given", description="given: as in members; greedy, per_class: other weights where held-out people show that they are better"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        some = not self.members or any(self.members.values())
        searched = self.weights == "given" or len(self.members) > 1
        _require(
            (some, "members", "a weight above 0", "only 0"),
            (searched, "weights", "given, unless decide.members names two or more", self.weights),
        )
        return self

    @property
    def ensemble(self) -> dict[str, int]:
        """The members and their weights; without `members` the current run alone."""
        return dict(self.members) or {CURRENT: 1}


class SubmissionParams(Section):
    """How submissions are written and read. The defaults are the competition's."""

    columns: list[str] = Field(
        ["image_name", "class", "rle"], min_length=3, max_length=3, description="header: the columns of image, class and encoding"
    )
    order: Literal["row", "column"] = Field("row", description="row: pixels are counted row by row; column: column by column")
    base: int = Field(1, ge=0, le=1, description="number of the first pixel, 0 or 1")
    empty: str = Field("", description='text of an empty mask, such as "-1"')

    @model_validator(mode="after")
    def _can_be_read_back(self) -> Self:
        wanted = "at most one word, without commas, quotation marks and line ends"
        _require(
            (len(set(self.columns)) == 3 and all(self.columns), "columns", "three different names", ", ".join(self.columns)),
            (len(self.empty.split()) < 2 and not set(self.empty) & set(',"\r\n'), "empty", wanted, self.empty),
        )
        return self


class ReportParams(Section):
    """The page reports/index.html."""

    cases: int = Field(4, ge=1, description="how many of the best and how many of the worst images to show, beside the median")


class MachineParams(Section):
    """What the machine can do. No result depends on it, so no stage reruns when it changes."""

    preprocess_workers: int | None = Field(None, ge=1, le=256, description="processes for phantom and preprocess; null: one per core")
    num_workers: int = Field(4, ge=0, le=256, description="processes that load images for one training; 0: the training loads them itself")
    gpus_per_fold: int = Field(1, ge=1, le=64, description="GPUs that share the batches of one training, and the images of infer")
    resume_dir: str | None = Field(None, min_length=1, description="folder for checkpoints of unfinished trainings; null: .dvc/tmp/resume")
    tracker: Literal["tensorboard", "dvclive", "wandb", "mlflow"] | None = Field(
        None, description="where trainings are recorded, in logs/: tensorboard, dvclive, wandb, mlflow (each is a package); null: nowhere"
    )


class Params(Section):
    """The whole of params.yaml."""

    seed: int = Field(21, ge=0, description="random seed of weights, shuffling and augmentation")
    data: DataParams = DataParams()
    phantom: PhantomParams = PhantomParams()
    preprocess: PreprocessParams = PreprocessParams()
    split: SplitParams = SplitParams()
    pseudo: PseudoParams = PseudoParams()
    folds: list[Annotated[int, Field(ge=0)]] = Field(
        [0, 1, 2, 3, 4], min_length=1, description="folds to train, validate and ensemble, of 0 to split.n_folds - 1"
    )
    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()
    infer: InferParams = InferParams()
    decide: DecideParams = DecideParams()
    submission: SubmissionParams = SubmissionParams()
    report: ReportParams = ReportParams()
    machine: MachineParams = MachineParams()

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        folds, n_folds, cached, size = self.folds, self.split.n_folds, self.preprocess.size, self.train.size
        unknown = [name for name in self.train.class_weights if name not in self.data.classes]
        distinct = len(set(folds)) == len(folds) and max(folds) < n_folds
        _require(
            (distinct, "folds", f"different numbers from 0 to {n_folds - 1}, as split.n_folds is {n_folds}", folds),
            (cached is None or cached >= size, "preprocess.size", f"null or at least train.size ({size})", cached),
            (not unknown, "train.class_weights", "names in data.classes", ", ".join(unknown)),
            (any(self.train.class_weights.get(name, 1.0) for name in self.data.classes), "train.class_weights", "one above 0", "only 0"),
            *self._exclusive_rules(),
        )
        return self

    def _exclusive_rules(self) -> Iterator[Rule]:
        """What `data.exclusive` asks of other sections."""
        exclusive, decide = self.data.exclusive, self.decide
        others, instead = (SIGMOID_LOSSES, "cross_entropy and dice") if exclusive else (SOFTMAX_LOSSES, "bce and dice")
        because = f"as data.exclusive is {json.dumps(exclusive)}"
        for name in others:
            yield (
                name not in self.train.loss,
                f"train.loss.{name}",
                f"other losses, such as {instead}, {because}",
                self.train.loss.get(name),
            )
        null = f"null (argmax), {because}" if exclusive else f"a threshold, {because}"
        yield exclusive == (decide.threshold is None), "decide.threshold", null, decide.threshold
        if exclusive:
            yield not decide.clean_up, "decide.clean_up", f"[], {because}: masks cleaned up alone would overlap", decide.clean_up
            yield decide.weights != "per_class", "decide.weights", f"given or greedy, {because}", decide.weights
            yield self.infer.crf is None, "infer.crf", f"null, {because}: it refines each class alone", "a CRF"


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check the whole file.

    Raises `UserError` that lists every key that is unknown, missing, of a wrong type or out of range.
    """
    document = read_yaml(Path(path))
    return parse_params(document, str(path), _missing(document, str(path)))


def submission_params(path: str | Path = "params.yaml") -> SubmissionParams:
    """The section `submission` of the file, or its defaults where there is no such file. Raises `UserError` as `load_params` does."""
    return load_params(path).submission if Path(path).exists() else SubmissionParams()


def parse_params(document: Any, source: str, problems: list[Problem] | None = None) -> Params:
    """The parameters in `document`, with defaults for missing keys. `source` is the file that problems name.

    Raises `UserError` with `problems` and those found here.
    """
    found = list(problems or [])
    try:
        params = Params.model_validate(document)
    except ValidationError as error:
        found += _invalid(document, source, error)
    raise_if_any(found, f"{source} cannot be used")
    return params


def mirrored_classes(classes: Sequence[str], mirror: Mapping[str, str]) -> list[int] | None:
    """For each class, the number of the class that it becomes in a mirrored image; None if every class stays itself.

    mirror: `data.mirror`, each pair once.
    """
    partner = {**mirror, **{other: name for name, other in mirror.items()}}
    return [classes.index(partner.get(name, name)) for name in classes] if partner else None


def sections() -> dict[str, type[Section]]:
    """The sections of params.yaml by name."""
    types = {name: field.annotation for name, field in Params.model_fields.items()}
    return {name: kind for name, kind in types.items() if isinstance(kind, type) and issubclass(kind, Section)}


def parameter_names() -> list[str]:
    """Every key of params.yaml as a dotted path, e.g. `model.arch`."""
    known = sections()
    return [
        path
        for name in Params.model_fields
        for path in ([f"{name}.{key}" for key in known[name].model_fields] if name in known else [name])
    ]


def _missing(document: Any, source: str) -> list[Problem]:
    """A problem for each section and key that the document lacks. Keys inside values, such as those of infer.crf, may be missing."""
    if not isinstance(document, dict):
        return []
    given = {name: document.get(name) for name in Params.model_fields}
    lacking = [name for name in given if name not in document]
    for name, section in sections().items():
        keys = given[name]
        lacking += [f"{name}.{key}" for key in section.model_fields if isinstance(keys, dict) and key not in keys]
    fix = "add it, or write the whole file with handbone preset NAME"
    return [Problem("params.missing", f"{source}: {key}", "this key, as DVC needs the whole file", "none", fix) for key in lacking]


def _invalid(document: Any, source: str, error: ValidationError) -> Iterator[Problem]:
    """One problem for each value that pydantic refuses; the alternatives that a value may have are joined by `or`."""
    expected: dict[str, list[str]] = {}
    fixes: dict[str, str] = {}
    for details in error.errors():
        keys, value = _locate(document, details["loc"])
        place, value = ".".join(keys), keys[-1] if details["loc"][-1:] == ("[key]",) else value
        if details["type"] == "extra_forbidden":
            yield Problem("params.unknown", f"{source}: {place}", "a known key", "no such key", _suggestion(keys))
        elif details["type"] == "rules":
            for key, wanted, found in details["ctx"]["broken"]:
                where = ".".join(filter(None, [place, key]))
                yield Problem("params.value", f"{source}: {where}", wanted, _shown(found), "change the value")
        else:
            expected.setdefault(place, [_shown(value)]).append(_wording(details["type"], details["msg"], keys))
            fixes[place] = _better_spelling(value, details) or fixes.get(place, "change the value")
    for place, (found, *alternatives) in expected.items():
        wanted = " or ".join(dict.fromkeys(alternatives))
        yield Problem("params.value", f"{source}: {place or 'the whole file'}", wanted, found, fixes[place])


def _locate(document: Any, location: tuple[str | int, ...]) -> tuple[list[str], Any]:
    """The keys of `location` that are in the document, and the value there; pydantic appends the names of types that it tried."""
    keys: list[str] = []
    for part in location:
        inside = part in document if isinstance(document, dict) else isinstance(document, list) and part in range(len(document))
        if not inside:
            break
        document = document[part]
        keys.append(str(part))
    return keys, document


def _suggestion(keys: list[str]) -> str:
    """The known key that is nearest to an unknown one, of the same section if that is known."""
    beside = [name for name in parameter_names() if name.startswith(f"{keys[0]}.")]
    if len(keys) == 3:  # a section inside a section: infer.crf
        beside = [f"infer.crf.{name}" for name in CrfParams.model_fields]
    return nearest(".".join(keys), beside if len(keys) > 1 else list(Params.model_fields))


def _better_spelling(value: Any, details: ErrorDetails) -> str | None:
    """A number as a text in quotes; a question that offers the nearest of the names that a value can be; None if there is neither."""
    if details["type"] == "string_type" and isinstance(value, int | float):
        return f'if it is a text, write it in quotes: "{_shown(value)}"'
    names = re.findall(r"'([^']+)'", details.get("ctx", {}).get("expected", "")) if details["type"] == "literal_error" else []
    question = nearest(value, names) if isinstance(value, str) else ""
    return question if question.endswith("?") else None


def _wording(kind: str, message: str, keys: list[str]) -> str:
    """What pydantic expects, as a clause; where null is possible, it says so, because 0 is not "off"."""
    section = sections().get(keys[0]) if len(keys) == 2 else None
    optional = section and type(None) in get_args(section.model_fields[keys[1]].annotation)
    clause = KINDS.get(".".join([*keys, kind])) or KINDS.get(kind) or re.sub("^(Input|String) should (be )?", "", message)
    return ("null, or " if optional else "") + clause


def _shown(value: object) -> str:
    """The value as in YAML, at most 80 characters; a text is shown as it is."""
    return (value if isinstance(value, str) else json.dumps(value, default=str))[:80]
