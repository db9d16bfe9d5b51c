"""What a PNG says before it is decoded: whole or damaged, its size, and what OpenCV would drop without a word.

OpenCV refuses a damaged stream of pixels, but it fills the rest of a half JPEG with whatever is in memory. So only PNG is accepted.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
OTHERS = {b"\xff\xd8\xff": "a JPEG", b"BM": "a BMP", b"GIF8": "a GIF", b"II*\0": "a TIFF", b"MM\0*": "a TIFF", b"RIFF": "a WebP"}
MAX_CHUNKS = 200_000  # writers use 8 KB and more per chunk
MAX_TEXT = 1 << 20  # bytes of an inflated text chunk that are searched for an orientation
MAX_TEXTS = 8  # chunks that are searched
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # compressed chunks, and the like, that do not change the pixels which OpenCV gives
ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = 1
ALPHA = (4, 6)  # colour types


@dataclass(frozen=True)
class PngHeader:
    """What `read_header` finds.

    width, height: pixels; bits: per channel; colour_type: as PNG numbers them; key_colour: the content of tRNS, empty if none;
    orientation: EXIF's 1 (upright) to 8; frames: more than one in an animation; texts: number of chunks of the kinds TEXTS.
    """

    width: int
    height: int
    bits: int
    colour_type: int
    key_colour: bytes
    orientation: int
    frames: int
    texts: int

    @property
    def may_be_transparent(self) -> bool:
        """Whether it has an alpha channel or names transparent colours."""
        return self.colour_type in ALPHA or bool(self.key_colour)


def read_header(data: bytes) -> PngHeader:
    """The header of a whole PNG. Nothing is inflated except text, up to a limit.

    Raises ValueError that says what the bytes are instead, or where they are damaged.
    """
    if not data.startswith(SIGNATURE):
        raise ValueError(next((name for start, name in OTHERS.items() if data.startswith(start)), "no PNG" if data else "an empty file"))
    orientation, frames, texts, key_colour, first = UPRIGHT, 1, 0, b"", b""
    for number, (kind, content, _) in enumerate(_chunks(data)):
        if (number == 0) != (kind == b"IHDR") or (number == 0 and len(content) != 13):
            raise ValueError("a PNG that does not start with one header")
        if number == 0:
            first = bytes(content)
        elif kind == b"eXIf":
            orientation = _exif_orientation(bytes(content[:MAX_TEXT]))
        elif kind in TEXTS:
            texts += 1
            if orientation == UPRIGHT and texts <= MAX_TEXTS:
                orientation = _text_orientation(kind, bytes(content))
        elif kind == b"acTL":
            frames = int.from_bytes(content[:4], "big")
        elif kind == b"tRNS":
            key_colour = bytes(content)
    if not first:
        raise ValueError("a PNG without a header")
    width, height, bits, colour_type = struct.unpack(">IIBB", first[:10])
    return PngHeader(width, height, bits, colour_type, key_colour, orientation, frames, texts)


def without_texts(data: bytes) -> bytes:
    """The PNG without its TEXTS, which libpng would inflate one by one, for minutes."""
    kept = [whole for kind, _, whole in _chunks(data) if kind not in TEXTS]
    return b"".join([SIGNATURE, *kept, b"\0\0\0\0IEND\xaeB`\x82"])


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Type, content and all bytes of each chunk before IEND, whose checksums fit."""
    view, start = memoryview(data), len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        length = int.from_bytes(view[start : start + 4], "big")
        end = start + 8 + length
        if end + 4 > len(view):
            raise ValueError(f"a PNG that is cut off after {len(view)} bytes")
        kind = bytes(view[start + 4 : start + 8])
        if zlib.crc32(view[start + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError(f"a damaged PNG: the checksum at byte {end} does not fit")
        if kind == b"IEND":
            return
        yield kind, view[start + 8 : end], view[start : end + 4]
        start = end + 4
    raise ValueError(f"a PNG of more than {MAX_CHUNKS} chunks")


def _exif_orientation(exif: bytes) -> int:
    """The orientation, or upright where the EXIF cannot be read: then no viewer rotates either."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == ORIENTATION:
                (value,) = struct.unpack_from(f"{order}{'I' if kind == 4 else 'H'}", exif, entry + 8)
                return value if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


def _text_orientation(kind: bytes, content: bytes) -> int:
    """The orientation in XMP, or in EXIF as ImageMagick writes it into text; upright if there is none."""
    name, _, rest = content.partition(b"\0")
    if name not in (b"XML:com.adobe.xmp", b"Raw profile type exif", b"Raw profile type APP1"):
        return UPRIGHT
    if kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    else:
        packed, rest = kind == b"zTXt", rest[1:] if kind == b"zTXt" else rest
    try:
        text = zlib.decompressobj().decompress(rest, MAX_TEXT) if packed else rest[:MAX_TEXT]
    except zlib.error:
        return UPRIGHT
    if name == b"XML:com.adobe.xmp":
        found = re.search(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])", text)
        return int(found[1]) if found else UPRIGHT
    digits = b"".join(text.split()[2:])  # after the profile's name and its length
    return _exif_orientation(bytes.fromhex(digits.decode("ascii", "ignore"))) if re.fullmatch(rb"([0-9a-fA-F]{2})+", digits) else UPRIGHT
