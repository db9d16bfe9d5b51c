"""The same bytes from every Python, and NumPy reads them."""

from hashlib import sha256
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from handbone.utils.io import write_npz

ARRAYS = {"a": np.arange(12, dtype=np.int32).reshape(3, 4), "b": np.zeros(1000, np.uint8), "c": np.array([], np.float32)}


def test_numpy_reads_it(tmp_path: Path) -> None:
    write_npz(tmp_path / "new/a.npz", ARRAYS, stored=["a"])
    with np.load(tmp_path / "new/a.npz", allow_pickle=False) as read:
        assert list(read) == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert read[name].dtype == array.dtype and np.array_equal(read[name], array)


def test_what_is_not_stored_is_deflated(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ARRAYS, stored=["a"])
    kinds = [member.compress_type for member in ZipFile(tmp_path / "a.npz").infolist()]
    assert kinds == [ZIP_STORED, ZIP_DEFLATED, ZIP_DEFLATED]


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    """As in a checkout whose files are links into DVC's cache."""
    write_npz(tmp_path / "cached", ARRAYS)
    before = (tmp_path / "cached").read_bytes()
    (tmp_path / "a.npz").symlink_to(tmp_path / "cached")
    write_npz(tmp_path / "a.npz", {"a": ARRAYS["a"]})
    assert (tmp_path / "cached").read_bytes() == before and not (tmp_path / "a.npz").is_symlink()


def test_its_bytes_are_the_same_from_every_python(tmp_path: Path) -> None:
    """Nothing of the version that wrote it, nor of the day; deflated bytes are zlib's own matter."""
    write_npz(tmp_path / "a.npz", ARRAYS, stored=list(ARRAYS))
    assert sha256((tmp_path / "a.npz").read_bytes()).hexdigest() == "a81911322349293a35536ff9071415d988c510aa95725579407f2a774a3b1a97"
