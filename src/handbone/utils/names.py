"""Names compared as people read them."""

from __future__ import annotations

import unicodedata


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC): macOS stores Hangul and accents decomposed, which looks the same."""
    return unicodedata.normalize("NFC", name)
