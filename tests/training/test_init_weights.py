"""The weights that a fold starts from."""

from pathlib import Path

import pytest
import torch

from conftest import Fails
from handbone.config.params import Params
from handbone.models.registry import build_model, spec_from_params
from handbone.models.saved import WEIGHTS, TrainedModelInfo, load_model, save_model
from handbone.training.init_weights import InitWeights, make_model, resolve_init_weights
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash

CLASSES = ["a", "b"]


def make_params(encoder: str = "resnet18", classes: list[str] = CLASSES, weights: str | None = "earlier") -> Params:
    model = {"encoder": encoder, "weights": weights, "options": {"Unet": {"decoder_channels": [8, 8, 8, 8, 8]}}}
    params = Params()
    return params.model_copy(
        update={
            "data": params.data.model_copy(update={"classes": classes}),
            "model": params.model.model_copy(update=model),
            "train": params.train.model_copy(update={"size": 64}),
        }
    )


def resolve(source: Path, folds: Path, params: Params | None = None, fold: int = 0) -> InitWeights:
    return resolve_init_weights(params or make_params(), fold, source, f"fold_{fold}", folds)


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    file = tmp_path / "folds.csv"
    file.write_text("key,person,fold\n")
    return file


@pytest.fixture
def earlier(tmp_path: Path, folds: Path) -> Path:
    """The models of an earlier experiment, with fold 0 only."""
    params = make_params()
    torch.manual_seed(5)
    spec = spec_from_params(params.model, CLASSES)
    info = TrainedModelInfo(spec, None, None, file_hash(folds), 128, 0, 1, 0.5)
    save_model(tmp_path / "earlier/fold_0", build_model(spec).state_dict(), info)
    return tmp_path / "earlier"


def test_an_experiments_weights_are_loaded_for_the_whole_network(earlier: Path, folds: Path) -> None:
    params = make_params()
    torch.manual_seed(5)
    expected = build_model(spec_from_params(params.model, CLASSES)).state_dict()
    weights = resolve(earlier, folds)
    found = make_model(params, weights).state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    assert weights == InitWeights(earlier / "fold_0" / WEIGHTS, of_experiment=True)
    assert weights.sha256 == file_hash(earlier / "fold_0" / WEIGHTS)


def test_a_file_is_taken_as_it_is(folds: Path) -> None:
    assert resolve(folds, folds) == InitWeights(folds, of_experiment=False)


@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_weights_that_are_in_no_file_need_none(weights: str | None, tmp_path: Path) -> None:
    """DVC alone needs weights/None and weights/imagenet."""
    found = resolve(tmp_path / str(weights), tmp_path / "folds.csv", make_params(weights=weights))
    assert found == InitWeights(None, of_experiment=False) and found.sha256 is None


def test_random_weights_are_those_of_the_seed_although_the_network_is_tried(folds: Path) -> None:
    """The trial of the contract draws no random number that a training would draw."""
    params = make_params(weights=None)
    torch.manual_seed(7)
    expected, random = build_model(spec_from_params(params.model, CLASSES)).state_dict(), torch.rand(3)
    torch.manual_seed(7)
    found = make_model(params, resolve(Path("none"), folds, params)).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items()) and torch.equal(torch.rand(3), random)


def test_missing_weights_are_an_error(tmp_path: Path, folds: Path, fails: Fails) -> None:
    with fails("weights.missing", "gone.pth"):
        resolve(tmp_path / "gone.pth", folds)


def test_an_experiment_without_this_fold_is_an_error(earlier: Path, folds: Path, fails: Fails) -> None:
    with fails("model.missing", "fold_1"):
        resolve(earlier, folds, fold=1)


def test_another_folds_weights_are_an_error(earlier: Path, folds: Path, fails: Fails) -> None:
    """Under the name of this fold they would have been trained on its held-out people."""
    (earlier / "fold_0").rename(earlier / "fold_1")
    with fails("weights.fold", "fold_1"):
        resolve(earlier, folds, fold=1)


def test_weights_of_other_folds_are_an_error(earlier: Path, folds: Path, fails: Fails) -> None:
    """They may have been trained on people who are held out now."""
    folds.write_text("key,person,fold\nA/1,A,0\n")
    with fails("weights.other_folds", "fold_0"):
        resolve(earlier, folds)


@pytest.mark.parametrize(
    ("classes", "listed"), [(["a", "c"], ["no c", "b in addition"]), (["a"], ["b in addition"]), (["b", "a", "c"], ["no c"])]
)
def test_weights_of_other_classes_are_an_error(classes: list[str], listed: list[str], earlier: Path, folds: Path, fails: Fails) -> None:
    with fails("weights.classes", "fold_0") as caught:
        resolve(earlier, folds, make_params(classes=classes))
    assert all(difference in caught.value.problems[0].found for difference in listed)


@torch.no_grad()
def test_classes_in_another_order_keep_their_outputs(earlier: Path, folds: Path) -> None:
    params = make_params(classes=["b", "a"])
    model, images = make_model(params, resolve(earlier, folds, params)).eval(), torch.rand(1, 1, 64, 64)
    before = load_model(earlier / "fold_0")[0](images)
    torch.testing.assert_close(model(images), before[:, [1, 0]])
    assert not torch.allclose(before[:, 0], before[:, 1])


def test_all_differences_of_an_experiment_are_listed(earlier: Path, folds: Path) -> None:
    folds.write_text("key,person,fold\nA/1,A,0\n")
    with pytest.raises(UserError) as caught:
        resolve(earlier, folds, make_params("resnet34", ["c"]))
    assert caught.value.codes == {"weights.other_folds", "weights.classes", "weights.mismatch"}


def test_weights_of_another_network_are_one_sentence(earlier: Path, folds: Path, fails: Fails) -> None:
    with fails("weights.mismatch", "fold_0") as caught:
        resolve(earlier, folds, make_params("resnet34"))
    assert "Unet with encoder resnet18" in caught.value.problems[0].found


def test_a_changed_weights_file_is_an_error(earlier: Path, folds: Path, fails: Fails) -> None:
    weights = resolve(earlier, folds)
    with (earlier / "fold_0" / WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    with fails("model.corrupt", WEIGHTS):
        make_model(make_params(), weights)


def test_a_network_that_breaks_the_contract_is_refused_before_training(folds: Path, fails: Fails) -> None:
    params = make_params("tu-mvitv2_tiny", weights=None)
    large = params.model_copy(update={"train": params.train.model_copy(update={"size": 288})})
    with fails("model.contract", "tu-mvitv2_tiny") as caught:
        make_model(large, InitWeights(None, of_experiment=False))
    assert "224 px" in caught.value.problems[0].fix
