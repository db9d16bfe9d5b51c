"""DICOM pictures; pydicom is optional, and so are most of these tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from handbone.formats.images import picture_size, read_picture

if TYPE_CHECKING:
    from conftest import Fails

VALUES = np.arange(0, 4096, 41, dtype=np.uint16).reshape(10, 10)


def write(path: Path, values: np.ndarray = VALUES, bits: int = 12, **elements: Any) -> Path:
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PixelRepresentation = *values.shape, 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * values.itemsize, bits, bits - 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = values.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_without_pydicom_the_error_names_the_extra(tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tmp_path / "x.dcm").write_bytes(bytes(128) + b"DICM")
    with fails("import.dicom", "x.dcm") as caught:
        read_picture(tmp_path / "x.dcm")
    assert "[dicom]" in str(caught.value)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_window_is_applied_as_pydicom_applies_it(tmp_path: Path, function: str) -> None:
    elements = {"WindowCenter": 1500, "WindowWidth": 800, "VOILUTFunction": function, "RescaleSlope": 2, "RescaleIntercept": -1000}
    path = write(tmp_path / "x.dcm", **elements)
    from pydicom import dcmread
    from pydicom.pixels import apply_modality_lut, apply_windowing

    dataset = dcmread(path)
    theirs = apply_windowing(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    low, high = -1000, 2 * 4095 - 1000  # what 12 bits can hold, rescaled
    expected = (theirs - low) / (high - low) * 255
    assert abs(read_picture(path) - expected).max() <= 0.5 + 1e-6
    assert picture_size(path) == (10, 10)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = read_picture(write(tmp_path / "x.dcm"), window=(0, 4095))
    inverted = read_picture(write(tmp_path / "y.dcm", PhotometricInterpretation="MONOCHROME1"), window=(0, 4095))
    assert np.array_equal(inverted, 255 - plain)
    assert plain[0, 0] == 0 and plain[-1, -1] == 253


def test_8_bits_need_no_window_and_more_do(tmp_path: Path, fails: Fails) -> None:
    eight = VALUES.astype(np.uint8)
    assert np.array_equal(read_picture(write(tmp_path / "x.dcm", eight, 8)), eight)
    with fails("import.bits", "y.dcm"):
        read_picture(write(tmp_path / "y.dcm"))


def test_colour_and_damaged_files_are_refused(tmp_path: Path, fails: Fails) -> None:
    path = write(tmp_path / "x.dcm", PhotometricInterpretation="RGB")
    with fails("import.dicom", "x.dcm"):
        read_picture(path)
    path = write(tmp_path / "y.dcm")
    path.write_bytes(path.read_bytes()[:-40])
    with fails("import.dicom", "y.dcm"):
        read_picture(path, window=(0, 100))
    path.write_bytes(path.read_bytes()[:150])
    with fails("import.dicom", "y.dcm"):
        read_picture(path)
