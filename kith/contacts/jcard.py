"""Cards in JSON: jCard (RFC 7095), ["vcard", [[name, parameters, type, value…], …]]."""

from collections.abc import Sequence

from kith.contacts.found import Contact, WrittenNumber, one_line, written_numbers

MOST_NUMBERS = 1000  # of one card

_NAME_ORDER = ("fn", "n", "nickname", "org", "email")


def is_card(value: object) -> bool:
    """Return whether a JSON value is a card."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and value[0] == "vcard"
        and isinstance(value[1], list)
    )


def contact_of(properties: Sequence[object], line: int) -> Contact:
    """Return the contact of a card's properties; what is no property is passed over."""
    names = dict[str, str]()
    numbers = list[WrittenNumber]()
    for one in properties:
        if not isinstance(one, list) or len(one) < 4 or not isinstance(one[0], str):
            continue
        name = one[0].lower()
        texts = [text for value in one[3:] for text in _texts(value, ordered=name == "n")]
        if name == "tel":
            for text in texts:
                numbers += written_numbers(text, line)
        elif name in _NAME_ORDER:
            names.setdefault(name, one_line(" ".join(texts)))
    name = next(filter(None, map(names.get, _NAME_ORDER)), "")
    return Contact(name, tuple(numbers[:MOST_NUMBERS]), line)


def _texts(value: object, *, ordered: bool) -> list[str]:
    """Return the texts of a value; of a structured name in the order in which they are said."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    parts = [" ".join(_texts(part, ordered=False)) for part in value]
    if ordered and len(parts) == 5:
        family, given, additional, prefix, suffix = parts
        parts = [prefix, given, additional, family, suffix]
    return [part for part in parts if part]
