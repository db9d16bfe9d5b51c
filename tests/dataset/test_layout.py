"""Folders to samples, and everything that can be wrong with them."""

from pathlib import Path

import pytest

from handbone.dataset.layout import find_samples, read_people
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


def test_people_and_samples_can_be_left_out(root: Path) -> None:
    assert [sample.key for sample in find_samples(root, ["ID001", "ID010/z"])] == ["ID002/d", "ID010/a-1", "ID010/a"]


def test_leaving_out_what_is_not_there_is_an_error(root: Path) -> None:
    with pytest.raises(UserError, match="ID0011") as error:
        find_samples(root, ["ID0011", "ID002", "IDX"])
    assert "IDX" in str(error.value)


def test_a_subset_needs_some_image(root: Path) -> None:
    with pytest.raises(UserError, match="some image of test to be left"):
        find_samples(root, ["ID010"])


def test_what_is_hidden_is_passed_over(root: Path) -> None:
    """DVC does not see it either."""
    before = find_samples(root, [])
    touch(root / "test/DCM/ID010/.ipynb_checkpoints/a-checkpoint.png")
    touch(root / "train/DCM/ID001/.hidden.png")
    assert find_samples(root, []) == before


def test_links_to_folders_are_refused_but_for_the_whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """DVC does not look behind them."""
    other = tmp_path_factory.mktemp("other")
    (other / "raw").symlink_to(root)
    assert len(find_samples(other / "raw", [])) == 6
    touch(other / "person/e.png")
    (root / "train/DCM/ID003").symlink_to(other / "person")
    (root / "test/DCM/ID011").symlink_to(other / "person")
    with pytest.raises(UserError, match=r"(?s)2 problems.*test/DCM/ID011.*train/DCM/ID003"):
        find_samples(root, [])


def test_every_unpaired_file_and_doubled_name_is_told_at_once(root: Path) -> None:
    touch(root / "train/DCM/ID002/bare.png")
    touch(root / "train/outputs_json/ID003/lost.json")
    touch(root / "test/DCM/ID011/z.png")
    with pytest.raises(UserError) as error:
        find_samples(root, [])
    told = str(error.value)
    assert "3 problems" in told
    assert all(name in told for name in ("ID002/bare.png", "ID003/lost.json", "ID011/z", "ID010/z.png"))


def test_an_excluded_sample_may_be_broken(root: Path) -> None:
    touch(root / "train/DCM/ID002/bare.png")
    assert "ID002/bare" not in [sample.key for sample in find_samples(root, ["ID002/bare"])]


@pytest.mark.parametrize("missing", ["train/DCM", "train/outputs_json", "test/DCM"])
def test_a_missing_folder_is_an_error(root: Path, missing: str) -> None:
    (root / missing).rename(root / "elsewhere")
    with pytest.raises(UserError, match=missing):
        find_samples(root, [])


def test_a_suffix_in_another_case_is_no_way_to_a_second_image(root: Path) -> None:
    touch(root / "test/DCM/ID010/b.PNG")
    assert "ID010/b" in [sample.key for sample in find_samples(root, [])]
    touch(root / "test/DCM/ID010/b.png")
    with pytest.raises(UserError, match="ID010/b"):
        find_samples(root, [])


def test_an_image_outside_any_person_is_an_error(root: Path) -> None:
    touch(root / "train/DCM/stray.png")
    with pytest.raises(UserError, match=r"stray\.png"):
        find_samples(root, [])


def test_without_a_table_nothing_is_known_of_people(root: Path) -> None:
    assert read_people(root) == {}


def test_attributes_are_text_and_spaces_round_them_do_not_count(root: Path) -> None:
    text = "\ufeffwrist, person ,age\r\n bent,ID001,007\r\n,,\r\n\r\n,ID099,NA\r\n"
    (root / "people.csv").write_text(text, encoding="utf-8")
    assert read_people(root) == {"wrist": {"ID001": "bent", "ID099": ""}, "age": {"ID001": "007", "ID099": "NA"}}


def test_a_table_of_nobody_has_its_attributes(root: Path) -> None:
    (root / "people.csv").write_text("person,sex\n")
    assert read_people(root) == {"sex": {}}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (b"", ["first row", "a column person", "nothing"]),
        (b"Person,sex\nID001,f\n", ["a column person", "Person, sex"]),
        (b"person,sex\nID001,f\nID002,m\nID001,f\n", ["1 problem", "lines 2, 4", "ID001"]),
        (b"person,,sex\nID001,a,f\n", ["1 problem", "column 2"]),
        (b"person,sex,sex\nID001,f,f\n", ["1 problem", "one column sex"]),
        (b"person,sex\nID001\nID002,m,x\n,f\n", ["3 problems", "line 2", "line 3", "line 4", "a person"]),
        (b"person,,\nID001,a,b\nID001,c,d\n", ["3 problems", "column 2", "column 3", "ID001"]),
        ("person,sex\nID001,여\n".encode("cp949"), ["UTF-8"]),
        (b'person,sex\nID001,"f\n', ["CSV"]),
    ],
)
def test_every_fault_of_the_table_is_told_at_once(root: Path, table: bytes, told: list[str]) -> None:
    (root / "people.csv").write_bytes(table)
    with pytest.raises(UserError, match=r"people\.csv") as error:
        read_people(root)
    assert all(part in str(error.value) for part in told)
