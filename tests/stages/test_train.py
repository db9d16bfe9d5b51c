"""What a fold starts from."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from stages.train import main, make_model, started_from

from handbone.config import paths
from handbone.config.params import Params, load_params
from handbone.models import build_model
from handbone.models.saved import SETTINGS, WEIGHTS, Settings, save_model
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash
from imports import ROOT


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Parameters that start from `weights/earlier`, which has weights for fold 0."""
    monkeypatch.chdir(tmp_path)
    paths.FOLDS.parent.mkdir()
    paths.FOLDS.write_text("key,person,fold\n")
    params = load_params(ROOT / "params.yaml")
    params = params.model_copy(update={"model": params.model.model_copy(update={"weights": "earlier"})})
    torch.manual_seed(5)
    model = build_model("Unet", params.model.encoder, None, 1, 29, **params.model.options["Unet"])
    settings = Settings("Unet", params.model.encoder, 1, [], {}, "none", "", file_hash(paths.FOLDS), 128, 0, 1, 0.5)
    save_model(paths.WEIGHTS / "earlier/fold_0", model.state_dict(), settings)
    return params


def test_an_experiments_weights_are_taken_whole(params: Params) -> None:
    torch.manual_seed(5)
    expected = build_model("Unet", params.model.encoder, None, 1, 29, **params.model.options["Unet"]).state_dict()
    found = make_model(params, 0).state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    assert started_from(params, 0) == paths.WEIGHTS / "earlier/fold_0" / WEIGHTS


def test_weights_that_are_not_there_say_so(params: Params) -> None:
    other = params.model_copy(update={"model": params.model.model_copy(update={"weights": "gone.pth"})})
    with pytest.raises(UserError, match=r"weights/gone\.pth.*put them there"):
        started_from(other, 0)


@pytest.mark.parametrize("arguments", [[], ["all"], ["0", "1"], ["-1"]])
def test_without_the_number_of_a_fold_it_says_so(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["stages.train", *arguments])
    with pytest.raises(UserError, match="the number of a fold"):
        main()


def test_a_fold_without_weights_says_so(params: Params) -> None:
    with pytest.raises(UserError, match="fold_1"):
        started_from(params, 1)


def test_weights_of_other_folds_are_refused(params: Params) -> None:
    settings = json.loads((paths.WEIGHTS / "earlier/fold_0" / SETTINGS).read_text())
    assert settings == asdict(Settings(**settings))
    paths.FOLDS.write_text("key,person,fold\nA/1,A,0\n")
    with pytest.raises(UserError, match="held out now may have been trained on"):
        make_model(params, 0)


def test_weights_of_another_network_are_refused(params: Params) -> None:
    other = params.model_copy(update={"model": params.model.model_copy(update={"encoder": "resnet18"})})
    with pytest.raises(UserError, match="do not fit"):
        make_model(other, 0)
