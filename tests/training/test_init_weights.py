"""The weights that a fold starts from."""

from pathlib import Path

import pytest
import torch

from conftest import Fails
from handbone.config.params import Params
from handbone.models.registry import build_model, spec_from_params
from handbone.models.saved import WEIGHTS, TrainedModelInfo, save_model
from handbone.training.init_weights import InitWeights, make_model, resolve_init_weights
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash

CLASSES = ["a", "b"]


def make_params(encoder: str = "resnet18") -> Params:
    model = {"encoder": encoder, "weights": "earlier", "options": {"Unet": {"decoder_channels": [8, 8, 8, 8, 8]}}}
    params = Params()
    return params.model_copy(
        update={
            "data": params.data.model_copy(update={"classes": CLASSES}),
            "model": params.model.model_copy(update=model),
        }
    )


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
    info = TrainedModelInfo(spec, None, "", file_hash(folds), 128, 0, 1, 0.5)
    save_model(tmp_path / "earlier/fold_0", build_model(spec).state_dict(), info)
    return tmp_path / "earlier"


def test_an_experiments_weights_are_loaded_for_the_whole_network(earlier: Path, folds: Path) -> None:
    params = make_params()
    torch.manual_seed(5)
    expected = build_model(spec_from_params(params.model, CLASSES)).state_dict()
    weights = resolve_init_weights(earlier, "fold_0", folds, CLASSES)
    found = make_model(params, weights).state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    assert weights == InitWeights(earlier / "fold_0" / WEIGHTS, of_experiment=True)


def test_a_file_is_taken_as_it_is(folds: Path) -> None:
    assert resolve_init_weights(folds, "fold_0", folds, CLASSES) == InitWeights(folds, of_experiment=False)


def test_missing_weights_are_an_error(tmp_path: Path, folds: Path, fails: Fails) -> None:
    with fails("weights.missing", "gone.pth"):
        resolve_init_weights(tmp_path / "gone.pth", "fold_0", folds, CLASSES)


def test_an_experiment_without_this_fold_is_an_error(earlier: Path, folds: Path, fails: Fails) -> None:
    with fails("model.missing", "fold_1"):
        resolve_init_weights(earlier, "fold_1", folds, CLASSES)


def test_weights_of_other_folds_are_an_error(earlier: Path, folds: Path, fails: Fails) -> None:
    """They may have been trained on people who are held out now."""
    folds.write_text("key,person,fold\nA/1,A,0\n")
    with fails("weights.other_folds", "fold_0"):
        resolve_init_weights(earlier, "fold_0", folds, CLASSES)


@pytest.mark.parametrize(("classes", "listed"), [(["a", "c"], ["no c", "b in addition"]), (["b", "a"], ["another order"]), (["a"], ["b"])])
def test_weights_of_other_classes_are_an_error(classes: list[str], listed: list[str], earlier: Path, folds: Path, fails: Fails) -> None:
    with fails("weights.classes", "fold_0") as caught:
        resolve_init_weights(earlier, "fold_0", folds, classes)
    assert all(difference in caught.value.problems[0].found for difference in listed)


def test_all_differences_of_an_experiment_are_listed(earlier: Path, folds: Path) -> None:
    folds.write_text("key,person,fold\nA/1,A,0\n")
    with pytest.raises(UserError) as caught:
        resolve_init_weights(earlier, "fold_0", folds, ["c"])
    assert caught.value.codes == {"weights.other_folds", "weights.classes"}


def test_weights_of_another_network_are_an_error(earlier: Path, folds: Path, fails: Fails) -> None:
    with fails("weights.mismatch"):
        make_model(make_params("resnet34"), resolve_init_weights(earlier, "fold_0", folds, CLASSES))
