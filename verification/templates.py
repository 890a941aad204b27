"""Templates: the texts of services, with a label where the code goes. They fit into one SMS segment."""

from unicodedata import category

from verification.codes import LONG
from verification.texts import segments

LABEL = "{{code}}"


def fill(template: str, code: str) -> str:
    """Return the text with the code in place of every label."""
    return template.replace(LABEL, code)


def error_of(template: str) -> str | None:
    """Return why a template cannot be sent; None if it can."""
    if LABEL not in template:
        return f"must contain {LABEL} where the code goes"
    # Joiners, direction marks and no-break spaces (Cf, Zs) are text in many languages.
    if any(category(character) in ("Cc", "Cs") for character in template.replace("\n", "")):
        return "must not contain control characters"
    if segments(fill(template, "0" * LONG)) > 1:
        return (
            "must fit into one SMS: 160 characters of the GSM alphabet, of which ^{}\\[~]|€ count"
            " twice, or 70 when there are others"
        )
    return None
