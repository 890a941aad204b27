"""What a code is sent in: texts of one SMS segment, and what a call says.

Owns how the wordings of the catalogues are fitted. Refuses to let a text grow into a second segment,
which would cost twice and can arrive in halves.
"""

import re
from typing import NamedTuple

from verification import catalogues

#: GSM 03.38 (3GPP TS 23.038, 6.2.1); what is in its extension takes an escape and counts twice.
GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")
#: The last resort in every language: plain ASCII, which fits beside the longest last line.
BARE = "{code} - {app}"


def segments(text: str) -> int:
    """Count the SMS segments that a text takes: 160 septets or 70 UTF-16 units, if it is one.

    In more than one, a header leaves 153 or 67 to each, and no character is cut in two.
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
    """Write the text of a code; give it and its language.

    `locale` is any BCP 47 tag. The last line is `@web_origin #code` (WICG, Origin-bound one-time
    codes delivered via SMS) or the Android SMS Retriever's `app_hash`; both cannot be last.
    """
    if web_origin and app_hash:
        raise ValueError("a text ends in an origin or in an app hash, not in both")
    language = catalogues.choose(locale, default_locale).language
    last_line = f"\n@{web_origin} #{code}" if web_origin else f"\n{app_hash}" if app_hash else ""
    for wording in (*catalogues.wordings()[language].sms, BARE):
        body = wording.format(code=code, app=app_name) + last_line
        if segments(body) == 1:
            return body, language
    raise ValueError("the app name or the last line is too long for one segment")


class Call(NamedTuple):
    """What a call says: to be read, and as the parts between which a voice makes a pause."""

    body: str
    #: BCP 47, with the territory whose voice is wanted: `de-AT`, `zh-Hant-HK`.
    language: str
    parts: tuple[str, ...]


def call(locale: str, default_locale: str, app_name: str, code: str) -> Call:
    """Write what a call says: each digit alone, all twice.

    A language without a voice is spoken in the default's, else in English.
    """
    choice = catalogues.choose(locale, default_locale, spoken=True)
    wording = catalogues.wordings()[choice.language].call
    assert wording is not None, "only languages with a voice are chosen"
    parts: list[str] = []
    for words in wording.split("{digits}"):
        # What separates words from digits on paper is a pause when it is spoken.
        said = re.sub(r"^[\s;؛；·]+|\s+$", "", words.format(app=app_name))
        parts += [*code, said] if parts else [said]
    body = wording.format(app=app_name, digits=", ".join(code))
    return Call(body, choice.spoken, tuple(parts))
