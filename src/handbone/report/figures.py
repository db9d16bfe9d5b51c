"""Files of pictures as addresses of a page."""

from __future__ import annotations

import base64

import cv2

from handbone.cache.resize import UInt8Image

QUALITY = 75  # of JPEG


def jpeg_data_uri(rgb: UInt8Image) -> str:
    """(h, w, 3) RGB -> a JPEG as a `data:` address."""
    encoded, file = cv2.imencode(".jpeg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not encoded:
        raise ValueError(f"expected an (h, w, 3) uint8 picture, found {rgb.shape} {rgb.dtype}, which OpenCV cannot write as JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(file.tobytes()).decode()}"
