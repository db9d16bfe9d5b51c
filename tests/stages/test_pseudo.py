"""Masks of submissions become labels of test images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stages.pseudo import main

from conftest import Fails
from handbone.cache.sample import CachedSample, read_sample, write_sample
from handbone.config import paths
from handbone.masks.boxed import BoxedMasks
from handbone.masks.rle import encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.submission.csv import image_rows, write_submission
from handbone.utils.errors import UserError
from handbone.utils.hashing import file_hash
from handbone.utils.io import read_table, write_table
from params_file import write_params

CLASSES = ["one", "two"]
IMAGES = {"P1/a": ("a.png", 40, 30), "P2/b": ("b.png", 40, 30)}


@pytest.fixture
def masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A cache with two test images, and masks for them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = []
    for key, (name, height, width) in IMAGES.items():
        write_sample(paths.cached_sample("test", key), CachedSample(rng.integers(0, 255, (20, 15), np.uint8), (height, width), None))
        rows.append((key, key.split("/")[0], name, height, width, file_hash(paths.cached_sample("test", key))))
    write_table(paths.TEST_INDEX, pd.DataFrame(rows, columns=["key", "person", "image_name", "height", "width", "sha256"]))
    return {key: rng.random((2, 40, 30)) < 0.5 for key in IMAGES}


def submit(masks: dict[str, np.ndarray], name: str) -> None:
    rows = [
        row
        for key, of_image in masks.items()
        for row in image_rows(IMAGES[key][0], CLASSES, encode_runs(RunLengthMasks.from_boxed(BoxedMasks.from_dense(of_image))))
    ]
    write_submission(paths.PSEUDO_SOURCES / name, rows)


def run(**changes: object) -> pd.DataFrame:
    write_params({"data.classes": CLASSES} | {f"pseudo.{name}": value for name, value in changes.items()})
    main()
    return read_table(paths.PSEUDO_INDEX)


def test_without_a_test_set_there_is_nothing_to_label(masks: dict[str, np.ndarray], fails: Fails) -> None:
    submit(masks, "labels.csv")
    write_table(paths.TEST_INDEX, read_table(paths.TEST_INDEX).head(0))
    assert len(run(labels=None)) == 0
    with fails("pseudo.no_test_set", "pseudo.labels"):
        run(labels="labels.csv")


def test_without_labels_the_table_is_empty(masks: dict[str, np.ndarray]) -> None:
    submit(masks, "unused.csv")
    assert len(run(labels=None)) == 0


def test_the_samples_have_the_submitted_masks(masks: dict[str, np.ndarray]) -> None:
    submit(masks, "first.csv")
    table = run(labels="first.csv", weight=0.25)
    assert table["key"].tolist() == list(IMAGES) and table["weight"].tolist() == [0.25, 0.25]
    for key, of_image in masks.items():
        sample = read_sample(paths.pseudo_sample(key))
        assert sample.masks is not None and np.array_equal(sample.masks.unpack().dense(), of_image)
        assert np.array_equal(sample.image, read_sample(paths.cached_sample("test", key)).image)


def test_only_images_on_which_two_submissions_agree_are_taken(masks: dict[str, np.ndarray]) -> None:
    submit(masks, "first.csv")
    submit({key: of_image if key == "P1/a" else ~of_image for key, of_image in masks.items()}, "second.csv")
    table = run(labels="first.csv", check="second.csv", agreement=0.9)
    assert table["key"].tolist() == ["P1/a"] and table["agreement"].tolist() == [1.0]
    assert not paths.pseudo_sample("P2/b").exists()


def test_a_submission_of_other_images_is_refused(masks: dict[str, np.ndarray], fails: Fails) -> None:
    submit({"P1/a": masks["P1/a"]}, "first.csv")
    with fails("submission.rows", "first.csv"):
        run(labels="first.csv")


def test_faults_of_both_submissions_and_of_the_cache_are_in_one_error(masks: dict[str, np.ndarray]) -> None:
    """A field that is missing was once an empty mask, on which a network was trained."""
    submit(masks, "first.csv")
    submit(masks, "second.csv")
    lines = (paths.PSEUDO_SOURCES / "first.csv").read_text().splitlines(keepends=True)
    (paths.PSEUDO_SOURCES / "first.csv").write_text("".join([*lines[:2], "a.png,two\n", *lines[3:]]))
    (paths.PSEUDO_SOURCES / "second.csv").write_text("".join(lines)[:-1])
    paths.cached_sample("test", "P2/b").write_bytes(paths.cached_sample("test", "P1/a").read_bytes())
    with pytest.raises(UserError) as error:
        run(labels="first.csv", check="second.csv", agreement=0.9)
    assert error.value.codes == {"csv.fields", "csv.cut_off", "cache.changed"}
    assert error.value.places == ["data/cache/test/P2/b.npz", "pseudo/first.csv: line 3", "pseudo/second.csv"]
    assert not paths.PSEUDO.exists()


def test_a_check_without_labels_is_refused(masks: dict[str, np.ndarray], fails: Fails) -> None:
    submit(masks, "second.csv")
    with fails("pseudo.check", "pseudo.check"):
        run(labels=None, check="second.csv")


def test_every_name_that_is_no_file_in_the_folder_is_in_one_error(masks: dict[str, np.ndarray], fails: Fails) -> None:
    """A file elsewhere is no dependency of the stage, so a change of it would rerun nothing."""
    submit(masks, "first.csv")
    Path("elsewhere.csv").write_bytes((paths.PSEUDO_SOURCES / "first.csv").read_bytes())
    with fails("pseudo.file", "pseudo.labels", "pseudo.check") as error:
        run(labels="frist.csv", check="../elsewhere.csv")
    assert "first.csv" in error.value.problems[0].fix


def test_an_error_keeps_the_earlier_samples(masks: dict[str, np.ndarray]) -> None:
    submit(masks, "first.csv")
    run(labels="first.csv")
    with pytest.raises(UserError):
        run(labels="gone.csv")
    assert len(read_table(paths.PSEUDO_INDEX)) == 2
