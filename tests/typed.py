"""Codes as people type and paste them, for tests of every protocol."""

from collections.abc import Callable

_ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")

#: What a person may make of a code; each is still the code.
AS_TYPED: tuple[Callable[[str], str], ...] = (
    lambda code: f"{code[:3]} {code[3:]}",
    lambda code: f"{code} ",
    lambda code: f"{code}\r\n",
    lambda code: f"{code[:3]}\u2013{code[3:]}",
    lambda code: " ".join(code),
    lambda code: f"\u2068{code}\u2069",
    lambda code: code.translate(_ARABIC),
    lambda code: code.translate(_FULL_WIDTH),
)


def unreadable(code: str) -> tuple[str, ...]:
    """Give texts that cannot be the code, though a paste that slipped may be one."""
    return (code[1:], f"{code}1", f"{code}00", f"{code}a", "code", " \n")
