"""Texts that a service words itself: a template, and the code in its place.

Owns what a template may be. Refuses what would take a second SMS segment, as our own texts never do: it
costs twice and can arrive in halves.
"""

from unicodedata import category

from verification.codes import LONG
from verification.texts import segments

LABEL = "{{code}}"


def fill(template: str, code: str) -> str:
    """Write the code wherever the template has its label."""
    return template.replace(LABEL, code)


def fault_of(template: str) -> str | None:
    """Say why a template cannot be sent; None when it can."""
    if LABEL not in template:
        return f"must hold {LABEL}, which the code is put in place of"
    # Joiners, direction marks and no-break spaces are text in many languages; these are in none.
    if any(category(character) in ("Cc", "Cs") for character in template.replace("\n", "")):
        return "must not hold control characters"
    if segments(fill(template, "0" * LONG)) > 1:
        return (
            "must fit into one SMS: 160 characters of the GSM alphabet, of which ^{}\\[~]|€ count"
            " twice, or 70 when there are others"
        )
    return None
