"""Pictures as addresses of a page."""

import base64

import cv2
import numpy as np

from handbone.report.figures import jpeg_data_uri


def test_a_jpeg_is_nearly_lossless():
    rows, columns = np.mgrid[:64, :96].astype(np.uint8)
    picture = np.stack([rows * 2, columns * 2, rows + columns], -1)
    kind, _, encoded = jpeg_data_uri(picture).partition(",")
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert kind == "data:image/jpeg;base64"
    assert np.abs(decoded[..., ::-1].astype(int) - picture).mean() < 3
