"""PNG files that no library would write, for tests."""

import struct
import zlib

import cv2
import numpy as np


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """The PNG with one more chunk after its header."""
    return data[:33] + chunk(kind, content) + data[33:]


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """The smallest EXIF with an orientation."""
    value = struct.pack(f"{order}I", orientation) if kind == 4 else struct.pack(f"{order}HH", orientation, 0)
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(f"{order}IH", 8, 1) + struct.pack(f"{order}HHI", 0x0112, kind, 1) + value + bytes(4)


GREY = encode(np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8))
