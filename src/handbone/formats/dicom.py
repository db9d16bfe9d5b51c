"""DICOM pictures, through the optional package pydicom."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbone.cache.resize import UInt8Image
from handbone.utils.errors import Problem, UserError

PREAMBLE = 128  # bytes before the letters DICM
GREY = ("MONOCHROME1", "MONOCHROME2")
Values = NDArray[np.float64]


def is_dicom(data: bytes) -> bool:
    """Whether a file's content is DICOM."""
    return data[PREAMBLE : PREAMBLE + 4] == b"DICM"


def read_dicom(path: Path, data: bytes, window: tuple[float, float] | None, pixels: bool = True) -> UInt8Image:
    """(H, W) uint8: the rescaled values through the window that is given, else the file's first window or its lookup table.

    MONOCHROME1, where the lowest value is white, is inverted. pixels: False gives zeros of the right shape, without decoding.
    Raises `UserError` without pydicom, for a file that is damaged, in colour or has frames, and for more than 8 bits without any window.
    """
    dataset = _dataset(path, data)
    kind, frames = str(dataset.get("PhotometricInterpretation")), int(dataset.get("NumberOfFrames") or 1)
    if kind not in GREY or frames > 1:
        found = f"{kind}, {frames} frames"
        raise UserError(Problem("import.dicom", str(path), "one grey picture (MONOCHROME1 or MONOCHROME2)", found, "convert it to PNG"))
    if not pixels:
        return np.zeros((dataset.Rows, dataset.Columns), np.uint8)
    try:
        share = np.clip(_shares(path, dataset, window), 0, 1)
    except UserError:
        raise
    except Exception as error:  # pydicom's, for a damaged file or a compression that needs another package
        raise UserError(Problem("import.dicom", str(path), "pixels that pydicom can read", str(error)[:200], "convert it to PNG")) from None
    return np.floor((1 - share if kind == GREY[0] else share) * 255 + 0.5).astype(np.uint8)


def _dataset(path: Path, data: bytes) -> Any:
    try:
        import pydicom  # optional: most data sets have none
    except ImportError:
        fix = "run pip install -e '.[dicom]' in the repository of handbone"
        raise UserError(Problem("import.dicom", str(path), "the package pydicom, which reads DICOM", "none", fix)) from None
    try:
        return pydicom.dcmread(io.BytesIO(data))
    except Exception as error:  # whatever a damaged file gives
        raise UserError(Problem("import.dicom", str(path), "a DICOM file", str(error)[:200], "replace the file")) from None


def _shares(path: Path, dataset: Any, window: tuple[float, float] | None) -> Values:
    """The values as shares of the way from black (0) to white (1), not clipped."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    values = np.asarray(apply_modality_lut(dataset.pixel_array, dataset), np.float64)
    if window is not None:
        return (values - window[0]) / (window[1] - window[0])
    if dataset.get("VOILUTSequence"):
        highest = float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
        return np.asarray(apply_voi(dataset.pixel_array, dataset), np.float64) / highest
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        centre, width = (float(np.ravel(dataset[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
        return WINDOWS[str(dataset.get("VOILUTFunction") or "LINEAR")](values, centre, width)
    if int(dataset.BitsStored) > 8:
        found = f"{dataset.BitsStored} bits, values from {values.min():g} to {values.max():g}, no window"
        fix = "add --window LOW HIGH: the values that become black and white"
        raise UserError(Problem("import.bits", str(path), "a window in the file or as an option", found, fix))
    return np.asarray(values / 255)


WINDOWS: dict[str, Callable[[Values, float, float], Values]] = {
    "LINEAR": lambda values, centre, width: (values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5,
    "LINEAR_EXACT": lambda values, centre, width: (values - centre) / width + 0.5,
    "SIGMOID": lambda values, centre, width: 1 / (1 + np.exp(-4 * (values - centre) / width)),
}
"""DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3: the functions of values, window centre and window width."""
