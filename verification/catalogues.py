"""The message catalogues, and which of them a request gets.

Owns reading `locales/`, gettext files that translators' tools open, and finding the language of a BCP 47
tag. Refuses to guess from half a translation: what a catalogue lacks or marks as fuzzy is not used.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.messages.pofile import read_po

from core.settings import SettingsError

LOCALES = Path(__file__).parent / "locales"
TEMPLATE = "texts.pot"
FALLBACK = "en"
#: The contexts of the texts, the best first, and of what a call says.
SMS_CONTEXTS = ("sms, 1", "sms, 2", "sms, 3")
CALL_CONTEXT = "call"

#: Languages that have no catalogue and read another's: Norwegian by its macrolanguage or as Nynorsk,
#: Bosnian as Croatian, Cantonese as the Chinese that is written in its script.
READS = {"no": "nb", "nn": "nb", "bs": "hr", "yue": "zh"}
#: More locales than an installation's people have; a stranger's inventions push out one another.
REMEMBERED = 1024


class Wording(NamedTuple):
    """One language: SMS texts, the best first, and what a call says, or None without a voice."""

    sms: tuple[str, ...]
    call: str | None


class Choice(NamedTuple):
    """A language that was found for a tag: BCP 47, and the territory that the tag names, if any."""

    language: str
    territory: str | None

    @property
    def spoken(self) -> str:
        """Name the language with its territory, which decides between voices: `de-AT`."""
        parts = self.language.split("-")
        named = self.territory is None or self.territory in parts
        return self.language if named else f"{self.language}-{self.territory}"


@cache
def wordings() -> Mapping[str, Wording]:
    """Give the wordings of every catalogue by BCP 47 tag; the first call reads the files."""
    return MappingProxyType(read(LOCALES))


def read(folder: Path) -> dict[str, Wording]:
    """Read a folder of catalogues: the template, whose own texts are English, and the `.po` files."""
    with (folder / TEMPLATE).open("rb") as file:
        english = {message.context: message.id for message in read_po(file) if message.id}
    found = {FALLBACK: _wording(english)}
    for path in sorted(folder.glob("*.po")):
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.stem)
        texts = {m.context: m.string for m in catalogue if m.id and not m.fuzzy}
        found[path.stem.replace("_", "-")] = _wording(texts)
    return found


def _wording(texts: Mapping[str | None, object]) -> Wording:
    written = {context: text for context, text in texts.items() if isinstance(text, str) and text}
    sms = tuple(written[context] for context in SMS_CONTEXTS if context in written)
    return Wording(sms, written.get(CALL_CONTEXT))


def require(default_locale: str) -> None:
    """Read the catalogues and raise SettingsError if there is none of the default's language."""
    if _find(default_locale) is None:
        there = ", ".join(sorted(wordings()))
        fault = f"KITH_DEFAULT_LOCALE: there are no texts in {default_locale}, but in {there}"
        raise SettingsError.listing([fault])


@lru_cache(REMEMBERED)
def choose(locale: str, default_locale: str, *, spoken: bool = False) -> Choice:
    """Find the language of a tag, else of the default's, else English, which is always there.

    With `spoken` only among those that a call can be spoken in.
    """
    for tag in (locale, default_locale):
        choice = _find(tag)
        if choice and not (spoken and wordings()[choice.language].call is None):
            return choice
    return Choice(FALLBACK, None)


def _find(tag: str) -> Choice | None:
    """Find the catalogue of a BCP 47 tag by language and script, then territory, then language."""
    subtags = _subtags(tag)
    locale = _known(subtags)
    if locale is None:
        return None
    language = READS.get(locale.language, locale.language)
    likely = get_global("likely_subtags").get(locale.language, "").split("_")
    # A script that is named counts even where CLDR does not expect it: phones say zh-Hant-CN.
    named = [subtag.title() for subtag in subtags[1:] if re.fullmatch("[A-Za-z]{4}", subtag)]
    script = named[0] if named else locale.script or "".join(likely[1:2])
    territory = locale.territory
    if territory is None and language != locale.language:
        territory = "".join(likely[2:3]) or None
    regional = f"{language}_{territory}"
    parent = get_global("parent_exceptions").get(regional, "")
    for name in (f"{language}_{script}", regional, parent, language):
        if name.replace("_", "-") in wordings():
            return Choice(name.replace("_", "-"), territory)
    return None


def _subtags(tag: str) -> list[str]:
    """Split a tag, without its extensions and what is for private use, and rename what was renamed."""
    subtags = re.split("[-_]", re.split("[-_].(?:[-_]|$)", tag, maxsplit=1)[0])
    primary = get_global("language_aliases").get(subtags[0].lower(), subtags[0])
    return [*primary.split("_"), *subtags[1:]]


def _known(subtags: list[str]) -> Locale | None:
    """Give the locale of as many of a tag's subtags as Babel knows together."""
    for count in range(len(subtags), 0, -1):
        try:
            locale = Locale.parse("_".join(subtags[:count]))
        except (ValueError, UnknownLocaleError):
            continue
        return None if subtags[0] == "und" else locale
    return None
