"""A stage that somebody runs by hand after `dvc checkout` never writes through a link into DVC's cache.

With `cache.type symlink` or `hardlink` every out is a folder of links to files of the cache. DVC trusts these files, so it would call a
project up to date after a stage has overwritten one of them.
"""

from pathlib import Path

import pytest

from handbone.cache.sample import read_masks
from handbone.config import paths
from handbone.config.params import load_params
from handbone.masks.rle import encode_runs
from handbone.masks.runs import RunLengthMasks
from handbone.submission import csv
from params_file import write_params
from stages import phantom, preprocess, pseudo, split


def write_small_params(seed: int) -> None:
    """Parameters of a tiny phantom; another seed changes the bytes of every file."""
    people = {"phantom.train_people": 4, "phantom.test_people": 1, "phantom.bent_test": 0.5}
    write_params(people | {"phantom.size": 64, "phantom.seed": seed, "split.n_folds": seed + 1, "pseudo.labels": "best.csv"})


def write_labels() -> None:
    """A submission for the stage pseudo: every test image has the masks of the first training image."""
    masks = RunLengthMasks.from_boxed(read_masks(next((paths.CACHE / "train").rglob("*.npz"))).unpack())
    classes = load_params().data.classes
    rows = [row for name, _, _ in csv.test_images(paths.TEST_INDEX).values() for row in csv.image_rows(name, classes, encode_runs(masks))]
    csv.write_submission(paths.PSEUDO_SOURCES / "best.csv", rows)


def run_stages() -> None:
    phantom.main()
    preprocess.main()
    split.main()
    write_labels()
    pseudo.main()


def outs() -> dict[str, bytes]:
    """The content of every file below data/ and reports/."""
    return {str(path): path.read_bytes() for folder in ("data", "reports") for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_stages_replace_links_and_do_not_change_their_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_process: None, kind: str
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    write_small_params(seed=1)
    run_stages()
    first = outs()
    cache = {name: tmp_path / "cache" / str(number) for number, name in enumerate(first)}
    (tmp_path / "cache").mkdir()
    for name, target in cache.items():
        Path(name).rename(target)
        target.chmod(0o444)
        Path(name).symlink_to(target) if kind == "symlink" else Path(name).hardlink_to(target)
    assert outs() == first
    write_small_params(seed=2)
    run_stages()
    assert {name: target.read_bytes() for name, target in cache.items()} == first
    second = outs()
    changed = {name for name in second if second[name] != first.get(name)}
    assert {"data/folds.csv", "reports/split.json", "reports/data.json", "data/cache/train/areas.csv", "data/pseudo/index.csv"} <= changed
    assert not [name for name in second if Path(name).is_symlink()]
