"""Names of labels, as they are compared."""

import unicodedata


def comparable(name: str) -> str:
    """A name in Unicode's composed form (NFC) without outer blanks: two names that look the same are one label."""
    return unicodedata.normalize("NFC", name).strip()
