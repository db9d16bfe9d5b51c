"""Files are identified by their SHA-256."""

from pathlib import Path

from handbone.utils.hashing import file_hash


def test_the_hash_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_hash(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
