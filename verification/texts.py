"""Texts and calls that carry a code. A text always fits into one SMS segment: two cost twice, and one of
them can be lost.
"""

import re
from typing import NamedTuple
from unicodedata import category

from verification import catalogues
from verification.codes import LONG

#: GSM 03.38 (3GPP TS 23.038, 6.2.1); a character of its extension takes an escape and counts twice.
GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")
#: The fallback in every language: plain ASCII, which fits beside the longest last line.
BARE = "{code} - {app}"
#: Where a service's own text has the code.
LABEL = "{{code}}"


def segments(text: str) -> int:
    """Count the SMS segments of a text: one has 160 septets or 70 UTF-16 units.

    With more than one, a header leaves 153 or 67 to each, and no character is cut in two.
    """
    if GSM_BASIC.issuperset(text) or (GSM_BASIC | GSM_EXTENSION).issuperset(text):
        return _count([1 + (character in GSM_EXTENSION) for character in text], 160, 153)
    return _count([1 + (character > "\uffff") for character in text], 70, 67)


def _count(sizes: list[int], single: int, several: int) -> int:
    if sum(sizes) <= single:
        return 1
    count, used = 1, 0
    for size in sizes:
        used += size
        if used > several:
            count, used = count + 1, size
    return count


def sms_text(
    locale: str,
    default_locale: str,
    app_name: str,
    code: str,
    *,
    web_origin: str | None = None,
    app_hash: str | None = None,
) -> tuple[str, str]:
    """Return the text of a code, and its language.

    `locale` is any BCP 47 tag. The last line is `@web_origin #code` (WICG, Origin-bound one-time
    codes delivered via SMS) or the Android SMS Retriever's `app_hash`, not both.
    """
    if web_origin and app_hash:
        raise ValueError("a text ends with an origin or with an app hash, not both")
    language = catalogues.choose(locale, default_locale).language
    last_line = f"\n@{web_origin} #{code}" if web_origin else f"\n{app_hash}" if app_hash else ""
    for message in (*catalogues.messages()[language].sms, BARE):
        body = message.format(code=code, app=app_name) + last_line
        if segments(body) == 1:
            return body, language
    raise ValueError("the app name or the last line is too long for one segment")


def fill_template(template: str, code: str) -> str:
    """Return the text with the code in place of every label."""
    return template.replace(LABEL, code)


def template_error(template: str) -> str | None:
    """Return why a template cannot be sent; None if it can."""
    if LABEL not in template:
        return f"must contain {LABEL} where the code goes"
    # Joiners, direction marks and no-break spaces (Cf, Zs) are text in many languages.
    if any(category(character) in ("Cc", "Cs") for character in template.replace("\n", "")):
        return "must not contain control characters"
    if segments(fill_template(template, "0" * LONG)) > 1:
        return (
            "must fit into one SMS: 160 characters of the GSM alphabet, of which ^{}\\[~]|€ count"
            " twice, or 70 when there are others"
        )
    return None


class CallScript(NamedTuple):
    """What a call says: as one text, and in parts with a pause after each."""

    body: str
    #: BCP 47, with the territory of the voice: `de-AT`, `zh-Hant-HK`.
    language: str
    parts: tuple[str, ...]


def call_script(locale: str, default_locale: str, app_name: str, code: str) -> CallScript:
    """Return what a call says: each digit alone, all twice.

    A language without a voice is replaced by the default's, else by English.
    """
    choice = catalogues.choose(locale, default_locale, spoken=True)
    message = catalogues.messages()[choice.language].call
    assert message is not None, "only languages with a voice are chosen"
    parts: list[str] = []
    for words in message.split("{digits}"):
        # The punctuation between words and digits is a pause when it is spoken.
        spoken = re.sub(r"^[\s;؛；·]+|\s+$", "", words.format(app=app_name))
        parts += [*code, spoken] if parts else [spoken]
    body = message.format(app=app_name, digits=", ".join(code))
    return CallScript(body, choice.spoken, tuple(parts))
