"""What a file is that is no address book in a form that is read here, and what to do about it."""

import re

_EXPORT = "export the contacts as vCard or CSV"
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "this is a workbook or an archive; export it as CSV or vCard, or unpack it"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "this is an old Office file, such as Excel's .xls; save it as CSV, or export it as vCard",
    ),
    (b"%PDF", f"this is a PDF document; {_EXPORT}"),
    (
        b"SQLite format 3\x00",
        f"this is a database of a program (SQLite), such as macOS Contacts; {_EXPORT} there",
    ),
    (b"!BDN", f"this is an Outlook data file (.pst); {_EXPORT} in Outlook"),
    (b"\x9c\xcb\xcb\x8d", f"this is a Windows Address Book (.wab); {_EXPORT} there"),
    (b"bplist00", f"this is a property list of Apple's; {_EXPORT} in Contacts"),
    (b"{\\rtf", f"this is a text document (RTF); {_EXPORT}"),
    (b"\xfd7zXZ\x00", "this is compressed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "this is compressed with Zstandard; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7-Zip archive; unpack it first"),
    (b"Rar!\x1a\x07", "this is a RAR archive; unpack it first"),
    (b"\xff\xd8\xff", f"this is a picture; {_EXPORT}"),
    (b"\x89PNG", f"this is a picture; {_EXPORT}"),
    (b"GIF8", f"this is a picture; {_EXPORT}"),
)
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_TAR = (b"ustar", 257)
_WEB_PAGE = re.compile(
    rb"\s*(?:<!doctype\s+html|<html\b|<head\b|<body\b|<table\b|<div\b|<meta\b|<style\b)",
    re.IGNORECASE,
)
_CALENDAR = re.compile(rb"\s*BEGIN\s*:\s*VCALENDAR", re.IGNORECASE)
_CARD = re.compile(rb"BEGIN\s*:\s*VCARD", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b\x1a"))
_SAMPLE = 4096
_MOST_CONTROL_CHARACTERS = 0.05


def unreadable(start: bytes) -> str | None:
    """Return what a file is by its first bytes, and what to do, when it is of a kind that is not
    read here; None when it may be read.
    """
    for mark, reason in _STARTS:
        if start.startswith(mark):
            return reason
    if _BZIP2.match(start):
        return "this is compressed with bzip2; unpack it first"
    mark, place = _TAR
    if start[place : place + len(mark)] == mark:
        return "this is an archive (tar); unpack it first"
    return None


def unreadable_text(start: bytes) -> str | None:
    """Return the same for the beginning of a text in an ASCII-compatible encoding."""
    start = start.removeprefix(_BOM)[:_SAMPLE]
    if _WEB_PAGE.match(start):
        return f"this is a web page; {_EXPORT}, from Telegram as JSON"
    if _CALENDAR.match(start) and not _CARD.search(start):
        return f"this is a calendar; {_EXPORT}"
    if len(start.translate(None, _CONTROL)) < len(start) * (1 - _MOST_CONTROL_CHARACTERS):
        return f"this is a binary file of a kind that is not known here; {_EXPORT}"
    return None
