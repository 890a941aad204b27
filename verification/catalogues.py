"""Message catalogues: gettext files in `locales/`, found by BCP 47 tag.

A message that a catalogue lacks or marks as fuzzy is not used.
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
#: Contexts (msgctxt) of the texts, the best first, and of the call.
SMS_CONTEXTS = ("sms, 1", "sms, 2", "sms, 3")
CALL_CONTEXT = "call"

#: Languages without a catalogue and the one used for them: Norwegian by its macrolanguage or as Nynorsk,
#: Bosnian as Croatian, Cantonese as the Chinese of its script.
ALIASES = {"no": "nb", "nn": "nb", "bs": "hr", "yue": "zh"}
#: More locales than the users of an installation have; invented ones displace each other.
MAX_CACHED_LOCALES = 1024


class Messages(NamedTuple):
    """The messages of one language: texts, the best first, and the call, None without a voice."""

    sms: tuple[str, ...]
    call: str | None


class MatchedLocale(NamedTuple):
    """The catalogue's language for a tag (BCP 47), and the territory that the tag names, if any."""

    language: str
    territory: str | None

    @property
    def spoken(self) -> str:
        """The language with its territory, which decides between voices: `de-AT`."""
        parts = self.language.split("-")
        named = self.territory is None or self.territory in parts
        return self.language if named else f"{self.language}-{self.territory}"


@cache
def messages() -> Mapping[str, Messages]:
    """Return the messages of every catalogue by BCP 47 tag; the first call reads the files."""
    return MappingProxyType(read(LOCALES))


def read(folder: Path) -> dict[str, Messages]:
    """Read a folder of catalogues: the template, whose messages are English, and the `.po` files."""
    with (folder / TEMPLATE).open("rb") as file:
        english = {message.context: message.id for message in read_po(file) if message.id}
    found = {FALLBACK: _messages(english)}
    for path in sorted(folder.glob("*.po")):
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.stem)
        texts = {m.context: m.string for m in catalogue if m.id and not m.fuzzy}
        found[path.stem.replace("_", "-")] = _messages(texts)
    return found


def _messages(texts: Mapping[str | None, object]) -> Messages:
    written = {context: text for context, text in texts.items() if isinstance(text, str) and text}
    sms = tuple(written[context] for context in SMS_CONTEXTS if context in written)
    return Messages(sms, written.get(CALL_CONTEXT))


def require(default_locale: str) -> None:
    """Read the catalogues; raises SettingsError if the default locale has none."""
    if _find(default_locale) is None:
        there = ", ".join(sorted(messages()))
        fault = (
            f"KITH_DEFAULT_LOCALE: there is no catalogue for {default_locale}; there are {there}"
        )
        raise SettingsError.from_faults([fault])


@lru_cache(MAX_CACHED_LOCALES)
def choose(locale: str, default_locale: str, *, spoken: bool = False) -> MatchedLocale:
    """Return the locale of a tag, else of the default, else English, which always exists.

    spoken: only among those with a call.
    """
    for tag in (locale, default_locale):
        choice = _find(tag)
        if choice and not (spoken and messages()[choice.language].call is None):
            return choice
    return MatchedLocale(FALLBACK, None)


def _find(tag: str) -> MatchedLocale | None:
    """Find the catalogue of a BCP 47 tag by language and script, then territory, then language."""
    subtags = _subtags(tag)
    locale = _known(subtags)
    if locale is None:
        return None
    language = ALIASES.get(locale.language, locale.language)
    likely = get_global("likely_subtags").get(locale.language, "").split("_")
    # A named script counts even where CLDR does not expect it: phones send zh-Hant-CN.
    named = [subtag.title() for subtag in subtags[1:] if re.fullmatch("[A-Za-z]{4}", subtag)]
    script = named[0] if named else locale.script or "".join(likely[1:2])
    territory = locale.territory
    if territory is None and language != locale.language:
        territory = "".join(likely[2:3]) or None
    regional = f"{language}_{territory}"
    parent = get_global("parent_exceptions").get(regional, "")
    for name in (f"{language}_{script}", regional, parent, language):
        if name.replace("_", "-") in messages():
            return MatchedLocale(name.replace("_", "-"), territory)
    return None


def _subtags(tag: str) -> list[str]:
    """Split a tag without extensions and private use; replace a retired language subtag."""
    subtags = re.split("[-_]", re.split("[-_].(?:[-_]|$)", tag, maxsplit=1)[0])
    primary = get_global("language_aliases").get(subtags[0].lower(), subtags[0])
    return [*primary.split("_"), *subtags[1:]]


def _known(subtags: list[str]) -> Locale | None:
    """Return the locale of as many of a tag's subtags as Babel knows together."""
    for count in range(len(subtags), 0, -1):
        try:
            locale = Locale.parse("_".join(subtags[:count]))
        except (ValueError, UnknownLocaleError):
            continue
        return None if subtags[0] == "und" else locale
    return None
