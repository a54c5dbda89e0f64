"""Files that are not what their ending says: known by their first bytes."""

from pathlib import Path

from muki_pipeline.errors import MukiError

_RENAME, _TEXT = "Rename it to {name}{ending}", "Save it as CSV, JSON Lines or Parquet"
_UNPACK = "Unpack it, or pack it by gzip and call it {name}.gz"
_ZIP = b"PK\x03\x04"
_SIGNATURES = {
    b"\x1f\x8b": ("packed by gzip", "Rename it to {name}.gz"),
    b"PAR1": ("a Parquet file", _RENAME.replace("{ending}", ".parquet")),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Office document (.xls or .doc)", _TEXT),
    b"BZh": ("packed by bzip2", _UNPACK),
    b"\xfd7zXZ\x00": ("packed by xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", _UNPACK),
    b"ARROW1": ("an Arrow (Feather) file", _TEXT),
    b"SQLite format 3\x00": ("an SQLite database", _TEXT),
    b"%PDF-": ("a PDF document", _TEXT),
}
"""First bytes of a file, what it is, and what to do."""
_OFTEN = 0.25
"""Share of zero bytes that no text of one byte a letter has."""
_PARTS = {
    b"xl/workbook": ("an Excel workbook", _RENAME.replace("{ending}", ".xlsx")),
    b"word/document": ("a Word document", _TEXT),
    b"content.xml": ("an OpenDocument file", _TEXT),
}
"""Parts of a zip, and what the first of them that is there says of the whole."""


def refuse_binary(content: bytes, path: Path) -> None:
    """Refuse what is no text in any encoding; see `refuse_signature`.

    Raises:
        MukiError: It has a known signature, or zero bytes.
    """
    refuse_signature(content, path)
    if b"\0" in content:
        fix = "Name a file of text, or save it as CSV, JSON Lines or Parquet"
        raise MukiError("is a binary file, not text", where=str(path), fix=fix)


def refuse_signature(content: bytes, path: Path) -> None:
    """Refuse a file of a known kind that is no text: read as text it would fail in a line that nobody can find.

    Args:
        content: Of the file, unpacked where it is called `.gz`.
        path: The file, for the message.

    Raises:
        MukiError: It begins as another kind of file does; it says which, and what to do. Or it has so many zero bytes
            that it is text of two bytes a letter.
    """
    kind, fix = _kind_of(content)
    if kind:
        ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
        what = f"is {kind}, not the text that {ending} stands for"
        raise MukiError(what, where=str(path), fix=fix.format(name=path.name))
    if content.count(b"\0") > len(content) * _OFTEN:
        fix = "Convert it, with iconv -f UTF-16LE -t UTF-8"
        raise MukiError("holds so many zero bytes that it seems to be UTF-16, not UTF-8", where=str(path), fix=fix)


def _kind_of(content: bytes) -> tuple[str, str]:
    """What a file is, and what to do about it; empty where it may be text."""
    if content.startswith(_ZIP):
        found = (said for part, said in _PARTS.items() if part in content)  # names of parts are not packed
        return next(found, ("a zip archive", "Unpack it, and name the file that it holds"))
    return next((said for start, said in _SIGNATURES.items() if content.startswith(start)), ("", ""))
