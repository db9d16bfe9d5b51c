"""People to folds, and the report that no person is in two folds."""

import json
from pathlib import Path

import pandas as pd
import pytest
from stages.split import main

from conftest import Fails
from handbone.utils.io import read_table, write_table
from params_file import write_params


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Nine people with one to three images each; their names look like numbers."""
    monkeypatch.chdir(tmp_path)
    write_params({"split.n_folds": 4})
    keys = [f"{person:03d}/image_{number}" for person in range(9) for number in range(1 + person % 3)]
    index = pd.DataFrame({"key": keys, "person": [key[:3] for key in keys], "height": 64, "width": 64})
    write_table(Path("data/cache/train/index.csv"), index)
    rows = [(key, name, 100 * (place + 1), 0.5, 0.5) for key in keys for place, name in enumerate("ab")]
    areas = pd.DataFrame(rows, columns=["key", "class", "pixels", "x", "y"])
    write_table(Path("data/cache/train/areas.csv"), areas)
    return index


def test_every_training_image_has_one_fold_and_no_person_has_two(index: pd.DataFrame) -> None:
    main()
    folds = read_table(Path("data/folds.csv"))
    assert folds["key"].tolist() == index["key"].tolist()
    assert folds.groupby("person")["fold"].nunique().max() == 1
    assert sorted(folds["fold"].unique()) == [0, 1, 2, 3]


def test_the_report_counts_people_images_and_areas(index: pd.DataFrame) -> None:
    main()
    report = json.loads(Path("reports/split.json").read_text())
    assert report["max_folds_per_person"] == 1
    assert sum(fold["people"] for fold in report["folds"].values()) == 9
    assert sum(fold["images"] for fold in report["folds"].values()) == len(index)
    assert report["folds"]["0"]["mean_area_px"] == {"a": 100, "b": 200}


def test_more_folds_than_people_are_an_error(index: pd.DataFrame, fails: Fails) -> None:
    write_params({"split.n_folds": 10})
    with fails("folds.too_many", "split.n_folds"):
        main()
    assert not Path("data/folds.csv").exists()


def test_a_class_that_a_fold_lacks_is_a_warning(index: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    areas = read_table(Path("data/cache/train/areas.csv"))
    main()
    assert json.loads(Path("reports/split.json").read_text())["warnings"] == []
    areas.loc[(areas["class"] == "b") & (areas["key"] != index["key"][0]), "pixels"] = 0
    write_table(Path("data/cache/train/areas.csv"), areas)
    capsys.readouterr()
    main()
    fold = read_table(Path("data/folds.csv"))["fold"][0]
    others = ", ".join(f"fold {other}" for other in range(4) if other != fold)
    starts = [f"WARNING: fold {fold}: expected training images that show b", f"WARNING: {others}: expected held-out images that show b"]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING")]
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
    assert len(json.loads(Path("reports/split.json").read_text())["warnings"]) == 4


def test_areas_of_other_images_are_an_error(index: pd.DataFrame, fails: Fails) -> None:
    areas = read_table(Path("data/cache/train/areas.csv"))
    write_table(Path("data/cache/train/areas.csv"), areas[areas["key"] != index["key"][3]])
    with fails("split.areas", "areas.csv"):
        main()
    assert not Path("data/folds.csv").exists()


@pytest.fixture
def bent_people(index: pd.DataFrame) -> set[str]:
    """The people whom the folds of images alone put into fold 0 have bent wrists."""
    main()
    folds = read_table(Path("data/folds.csv"))
    bent = set(folds.loc[folds["fold"] == 0, "person"])
    assert len(bent) > 1
    write_table(
        Path("data/cache/train/index.csv"), index.assign(person_wrist=["bent" if p in bent else "straight" for p in index["person"]])
    )
    return bent


def test_a_value_that_folds_lack_is_a_warning(bent_people: set[str]) -> None:
    main()
    warnings = json.loads(Path("reports/split.json").read_text())["warnings"]
    assert sum("with wrist=bent" in text for text in warnings) == 4, "one fold cannot train it, three cannot score it"


def test_a_value_in_split_stratify_is_spread(bent_people: set[str]) -> None:
    write_params({"split.stratify": ["wrist"]})
    main()
    folds = read_table(Path("data/folds.csv"))
    assert folds[folds["person"].isin(bent_people)].groupby("person")["fold"].first().nunique() == len(bent_people)
    counts = [fold["labels"]["wrist=bent"] for fold in json.loads(Path("reports/split.json").read_text())["folds"].values()]
    assert sum(counts) == int(folds["person"].isin(bent_people).sum())


def test_no_fact_of_a_test_image_is_read(bent_people: set[str]) -> None:
    """Folds must not depend on what is scored in the end."""
    write_params({"split.stratify": ["wrist", "classes"]})
    assert not Path("data/cache/test").exists() and not Path("data/raw").exists()
    main()


def test_an_unknown_name_in_split_stratify_is_an_error(index: pd.DataFrame, fails: Fails) -> None:
    write_params({"split.stratify": ["wrist"]})
    with fails("split.stratify", "split.stratify"):
        main()
    assert not Path("data/folds.csv").exists()
