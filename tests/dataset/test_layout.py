"""Folders to samples, and every fault of a data set's folders."""

import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from conftest import Fails
from handbone.dataset.layout import find_samples, has_truth, truth_file
from handbone.utils.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for key in ["ID001/a_R", "ID001/b.c", "ID002/d"]:
        touch(tmp_path / "train/DCM" / f"{key}.png")
        touch(tmp_path / "train/outputs_json" / f"{key}.json")
    for key in ["ID010/z", "ID010/a-1", "ID010/a"]:
        touch(tmp_path / "test/DCM" / f"{key}.png")
    return tmp_path


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_keys_keep_underscores_and_dots_and_sort_as_paths(root: Path) -> None:
    samples = find_samples(root, [])
    assert [(sample.subset, sample.key, sample.person) for sample in samples] == [
        ("train", "ID001/a_R", "ID001"),
        ("train", "ID001/b.c", "ID001"),
        ("train", "ID002/d", "ID002"),
        ("test", "ID010/a-1", "ID010"),  # "a-1.png" < "a.png"
        ("test", "ID010/a", "ID010"),
        ("test", "ID010/z", "ID010"),
    ]
    assert samples[0].annotation == root / "train/outputs_json/ID001/a_R.json"
    assert samples[-1].annotation is None


def test_people_and_samples_can_be_excluded(root: Path) -> None:
    assert [sample.key for sample in find_samples(root, ["ID001", "ID010/z"])] == ["ID002/d", "ID010/a-1", "ID010/a"]


def test_every_unknown_name_in_exclude_is_an_error(root: Path, fails: Fails) -> None:
    with fails("exclude.unknown", "data.exclude") as error:
        find_samples(root, ["ID0011", "ID002", "IDX"])
    assert [problem.found for problem in error.value.problems] == ["ID0011", "IDX"]


def test_a_subset_needs_at_least_one_image(root: Path, fails: Fails) -> None:
    with fails("exclude.all", "data.exclude"):
        find_samples(root, ["ID010"])


@pytest.mark.parametrize("left", [None, "test", "test/DCM", "test/DCM/.DS_Store"])
def test_the_test_set_is_optional(root: Path, left: str | None) -> None:
    """No folder at all, or one with nothing in it."""
    shutil.rmtree(root / "test")
    if left is not None and left.endswith(".DS_Store"):
        touch(root / left)
    elif left is not None:
        (root / left).mkdir(parents=True)
    assert {sample.subset for sample in find_samples(root, [])} == {"train"}
    assert not has_truth(root)


def test_without_a_test_set_other_faults_are_found_as_ever(root: Path, fails: Fails) -> None:
    shutil.rmtree(root / "test")
    touch(root / "test/ID010/a.png")
    with fails("layout.unknown", "test/ID010"):
        find_samples(root, [])
    shutil.rmtree(root / "test")
    (root / "test").symlink_to(root / "nowhere")
    with fails("layout.missing", "test/DCM"):
        find_samples(root, [])


def test_a_data_set_in_a_folder_of_the_root_is_named(root: Path, fails: Fails) -> None:
    outer = root.parent / "unpacked"
    outer.mkdir()
    root.rename(outer / "hands")
    with fails("layout.root", "unpacked") as error:
        find_samples(outer, [])
    assert str(outer / "hands") in error.value.problems[0].fix
    (outer / "train").mkdir()
    with fails("layout.missing", "unpacked/train/DCM", "unpacked/train/outputs_json"):
        find_samples(outer, [])


def test_truth_without_test_images_is_refused(root: Path, fails: Fails) -> None:
    shutil.rmtree(root / "test")
    touch(root / "test_truth/outputs_json/ID010/a.json")
    with fails("layout.truth", "ID010/a.json"):
        find_samples(root, [])


@pytest.mark.parametrize(
    "name",
    [
        "train/DCM/ID001/.hidden.png",
        "train/DCM/ID001/._a_R.png",
        "train/DCM/ID001/.#a_R.png",
        "train/DCM/ID001/#a_R.png#",
        "train/DCM/ID001/a_R.png~",
        "train/DCM/ID001/.a_R.png.swp",
        "train/DCM/ID001/.a_R.png.123.partial",
        "train/DCM/.DS_Store",
        "train/DCM/Thumbs.db",
        "train/DCM/ID001/desktop.ini",
        "train/outputs_json/ID001/._a_R.json",
        "train/outputs_json/ID001/a_R.json~",
        "test/DCM/ID010/.ipynb_checkpoints/a-checkpoint.png",
    ],
)
def test_files_of_editors_and_systems_do_not_matter(root: Path, name: str) -> None:
    """DVC ignores them too."""
    before = find_samples(root, [])
    touch(root / name)
    assert find_samples(root, []) == before


def test_links_to_folders_are_refused_except_for_the_root(root: Path, tmp_path_factory: pytest.TempPathFactory, fails: Fails) -> None:
    """DVC does not follow them."""
    other = tmp_path_factory.mktemp("other")
    (other / "raw").symlink_to(root)
    assert len(find_samples(other / "raw", [])) == 6
    touch(other / "person/e.png")
    (root / "train/DCM/ID003").symlink_to(other / "person")
    (root / "test/DCM/ID011").symlink_to(other / "person")
    with fails("layout.link", "test/DCM/ID011", "train/DCM/ID003"):
        find_samples(root, [])


def test_every_unpaired_file_repeated_name_and_unknown_exclude_is_in_one_error(root: Path) -> None:
    touch(root / "train/DCM/ID002/bare.png")
    touch(root / "train/outputs_json/ID003/lost.json")
    touch(root / "test/DCM/ID011/z.png")
    with pytest.raises(UserError) as error:
        find_samples(root, ["ID02"])
    assert [problem.code for problem in error.value.problems] == [
        "exclude.unknown",
        "layout.pairing",
        "layout.pairing",
        "layout.image_name",
    ]
    assert error.value.places[1:] == [
        str(root / "train/DCM/ID002/bare.png"),
        str(root / "train/outputs_json/ID003/lost.json"),
        str(root / "test/DCM/ID010/z.png"),
    ]
    assert "ID011/z" in error.value.problems[-1].found


def test_an_excluded_sample_may_be_broken(root: Path) -> None:
    touch(root / "train/DCM/ID002/bare.png")
    assert "ID002/bare" not in [sample.key for sample in find_samples(root, ["ID002/bare"])]


def test_every_missing_folder_is_in_one_error(root: Path, fails: Fails) -> None:
    missing = ["train/DCM", "train/outputs_json"]
    for name in missing:
        shutil.rmtree(root / name)
    with fails("layout.missing", *missing) as error:
        find_samples(root, [])
    assert len(error.value.problems) == 2


def test_a_folder_without_people_is_an_error(root: Path, fails: Fails) -> None:
    for key in ("ID001", "ID002"):
        shutil.rmtree(root / "train/DCM" / key)
    with fails("layout.missing", "train/DCM"):
        find_samples(root, [])


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("test/DCM/ID010/c.jpg", "layout.unknown"),
        ("test/DCM/ID010/c.BMP", "layout.unknown"),
        ("test/DCM/ID010/c.dcm", "layout.unknown"),
        ("test/DCM/ID010/c", "layout.unknown"),
        ("test/DCM/ID010/c.png.bak", "layout.unknown"),
        ("test/DCM/ID010/z.json", "layout.unknown"),
        ("test/DCM/notes.txt", "layout.unknown"),
        ("test/notes.txt", "layout.unknown"),
        ("test/outputs_json/ID010/z.json", "layout.unknown"),
        ("train/People.csv", "layout.unknown"),
        ("train/DCM2/ID001/x.png", "layout.unknown"),
        ("train/outputs_json/ID001/a_R.xml", "layout.unknown"),
        ("train/outputs_json/ID001/a_R.png", "layout.unknown"),
        ("train/outputs_json/all.json", "layout.person"),
        ("train/DCM/ID001/old/x.png", "layout.depth"),
        ("train/DCM/ID001/c.png/", "layout.depth"),
        ("train/DCM/ID009/", "layout.empty"),
        ("train/outputs_json/ID009/", "layout.empty"),
        ("test/DCM/ID019/.DS_Store", "layout.empty"),
        ("test/DCM/ID010/c\nd.png", "layout.name"),
        ("test/DCM/ID\t11/c.png", "layout.name"),
        ("test/DCM/ID010/c\udcff.png", "layout.name"),
        ("test_truth/outputs_json/ID010/other.json", "layout.truth"),
        ("test_truth/outputs_json/ID010/z.txt", "layout.unknown"),
        ("test_truth/ID010/z.json", "layout.unknown"),
    ],
)
def test_what_no_stage_would_read_is_an_error(root: Path, name: str, code: str, fails: Fails) -> None:
    (root / name).mkdir(parents=True) if name.endswith("/") else touch(root / name)
    with fails(code) as error:
        find_samples(root, [])
    (place,) = error.value.places
    assert place.isprintable()
    assert Path(place) in [root / name, *(root / name).parents] or code == "layout.name"


def test_all_of_these_are_in_one_error(root: Path) -> None:
    shutil.rmtree(root / "train/outputs_json")
    for name in ("train/DCM/loose1.png", "train/DCM/loose2.png", "train/DCM/ID001/c.jpg", "train/DCM/ID001/sub/x.png"):
        touch(root / name)
    (root / "train/DCM/ID007").symlink_to(root / "train/DCM/ID001")
    with pytest.raises(UserError) as error:
        find_samples(root, ["ID099"])
    assert sorted(problem.code for problem in error.value.problems) == sorted(
        ["exclude.unknown", "layout.depth", "layout.link", "layout.missing", *["layout.person"] * 2, "layout.unknown"]
    )


@pytest.mark.parametrize("name", ["test/DCM/ID010/c.jpg", "train/DCM/ID001/old/x.png", "train/DCM/ID009/", "test/DCM/c.png"])
def test_what_is_excluded_is_no_fault(root: Path, name: str) -> None:
    before = find_samples(root, [])
    (root / name).mkdir(parents=True) if name.endswith("/") else touch(root / name)
    key = {"c.jpg": "ID010/c", "x.png": "ID001/old", "ID009": "ID009", "c.png": "c"}[Path(name).name]
    assert find_samples(root, [key]) == before


def test_other_files_beside_train_and_test_do_not_matter(root: Path) -> None:
    before = find_samples(root, [])
    for name in ("meta_data.xlsx", "README.md", "extra/x.png", "train/people.csv", "test_truth/outputs_json/ID010/z.json"):
        touch(root / name)
    assert find_samples(root, []) == before


def test_a_folder_that_cannot_be_read_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    def scandir(folder: Path, scan: Any = os.scandir) -> Any:
        if Path(folder).name == "ID002":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr("handbone.dataset.listing.os.scandir", scandir)
    with fails("layout.read", "DCM/ID002", "outputs_json/ID002"):
        find_samples(root, [])


HANGUL = "홍길동"
DECOMPOSED = unicodedata.normalize("NFD", HANGUL)


def test_names_are_paired_and_excluded_in_composed_form(root: Path) -> None:
    touch(root / f"train/DCM/{HANGUL}/{DECOMPOSED}.png")
    touch(root / f"train/outputs_json/{DECOMPOSED}/{HANGUL}.json")
    touch(root / f"test/DCM/ID010/{DECOMPOSED}.png")
    touch(root / f"test_truth/outputs_json/ID010/{HANGUL}.json")
    samples = find_samples(root, [])
    assert [(sample.key, sample.annotation) for sample in samples if sample.person == HANGUL] == [
        (f"{HANGUL}/{DECOMPOSED}", root / f"train/outputs_json/{DECOMPOSED}/{HANGUL}.json")
    ]
    assert truth_file(root, f"ID010/{DECOMPOSED}") == root / f"test_truth/outputs_json/ID010/{HANGUL}.json"
    assert HANGUL not in [sample.person for sample in find_samples(root, [DECOMPOSED])]


def test_two_names_that_look_the_same_are_errors(root: Path) -> None:
    for person in (HANGUL, DECOMPOSED):
        touch(root / f"test/DCM/{person}/{person}1.png")
    touch(root / f"test/DCM/ID010/{HANGUL}.png")
    touch(root / f"test/DCM/ID010/{DECOMPOSED}.png")
    with pytest.raises(UserError) as error:
        find_samples(root, [])
    assert error.value.codes == {"layout.person_twice", "layout.suffix", "layout.image_name"}


def test_the_truth_belongs_to_test_images(root: Path, fails: Fails) -> None:
    assert not has_truth(root)
    touch(root / "test_truth/outputs_json/ID010/z.json")
    assert has_truth(root)
    touch(root / "test_truth/outputs_json/ID011/z.json")
    with fails("layout.truth", "ID011/z.json"):
        has_truth(root)


def test_a_suffix_in_upper_case_is_read_but_gives_no_second_image(root: Path, fails: Fails) -> None:
    touch(root / "test/DCM/ID010/b.PNG")
    assert "ID010/b" in [sample.key for sample in find_samples(root, [])]
    touch(root / "test/DCM/ID010/b.png")
    with fails("layout.suffix", "ID010/b"):
        find_samples(root, [])


def test_every_image_outside_peoples_folders_is_in_one_error(root: Path, fails: Fails) -> None:
    for name in ("train/DCM/stray.png", "train/DCM/other.png", "test/DCM/lost.png"):
        touch(root / name)
    with fails("layout.person", "stray.png", "other.png", "lost.png"):
        find_samples(root, [])
