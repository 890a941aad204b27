"""The message catalogues: whole, fit to be formatted, and found by whatever tag a client writes."""

import re
import unicodedata
from pathlib import Path
from shutil import copy
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from core.settings import SettingsError
from settings import Settings
from tests.conftest import MakeApp
from verification.catalogues import (
    CALL_CONTEXT,
    LOCALES,
    SMS_CONTEXTS,
    TEMPLATE,
    choose,
    messages,
    read,
    require,
)

# fmt: off
LANGUAGES = [
    "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fil", "fr", "he", "hi", "hr",
    "hu", "id", "it", "ja", "ko", "mr", "ms", "nb", "nl", "pl", "pt", "pt-PT", "ro", "ru", "sk", "sr",
    "sr-Latn", "sv", "sw", "ta", "te", "th", "tr", "uk", "ur", "vi", "zh-Hans", "zh-Hant",
]
# fmt: on
#: No provider has a voice for them.
UNSPOKEN = {"fa", "sw", "ur"}
RIGHT_TO_LEFT = ["ar", "fa", "he", "ur"]


def open_catalogue(path: Path) -> Catalog:
    """Read a file as a translator's tool does."""
    with path.open("rb") as file:
        return read_po(file, locale=path.stem if path.suffix == ".po" else None)


def texts_of(language: str) -> list[str]:
    """Return all messages of a language."""
    wording = messages()[language]
    return [*wording.sms, *([wording.call] if wording.call else [])]


def test_the_languages_promised() -> None:
    """The languages promised are the ones there are."""
    assert sorted(messages()) == LANGUAGES


@pytest.mark.parametrize("path", sorted(LOCALES.glob("*.po")), ids=lambda path: path.stem)
def test_each_catalogue_is_whole(path: Path) -> None:
    """It translates each message of the template as it is now, and marks none as fuzzy or obsolete."""
    template = {m.context: m.id for m in open_catalogue(LOCALES / TEMPLATE) if m.id}
    catalogue = open_catalogue(path)

    assert {m.context: m.id for m in catalogue if m.id} == template
    assert not catalogue.obsolete
    assert not [m.context for m in catalogue if m.id and m.fuzzy]
    untranslated = {m.context for m in catalogue if m.id and not m.string}
    assert untranslated == ({CALL_CONTEXT} if path.stem in UNSPOKEN else set())


def test_the_template_explains_itself() -> None:
    """Each of its messages says to translators what it is for."""
    messages = [message for message in open_catalogue(LOCALES / TEMPLATE) if message.id]
    assert [message.context for message in messages] == [*SMS_CONTEXTS, CALL_CONTEXT]
    assert all(message.auto_comments for message in messages)


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_can_be_formatted(language: str) -> None:
    """Each has its placeholders, the code of a text in front, and no digit that could be a code."""
    wording = messages()[language]

    for text in texts_of(language):
        fields = sorted(field[1] for field in Formatter().parse(text) if field[1] is not None)
        spoken = text == wording.call
        assert fields == (["app", "digits", "digits"] if spoken else ["app", "code"])
        assert spoken or text.startswith("{code} ")
        assert not any(character.isdigit() for character in text)
        assert unicodedata.is_normalized("NFC", text)
    assert min(wording.sms, key=len) == wording.sms[-1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_full_stop_after_a_digit(language: str) -> None:
    """A digit before a full stop would be read as an ordinal in German, Polish and Turkish."""
    assert not re.search(r"\{digits\}\s*[.。।۔]", messages()[language].call or "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_direction_needs_no_marks(language: str) -> None:
    """The first letter decides a line's direction (UAX 9, P2): it is the language's own.

    So the code, which has no direction, stands where reading begins, and no invisible mark is needed.
    """
    right_to_left = language in RIGHT_TO_LEFT
    for text in texts_of(language):
        body = text.format(code="314159", app="Kith", digits="3, 1, 4")
        directions = map(unicodedata.bidirectional, body)
        first = next(direction for direction in directions if direction in ("L", "R", "AL"))
        assert (first != "L") is right_to_left
        assert not re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.parametrize(
    ("locale", "default", "language"),
    [
        ("en", "de", "en"),
        ("pt", "en", "pt"),
        ("pt-BR", "en", "pt"),
        ("pt-PT", "en", "pt-PT"),
        ("pt-AO", "en", "pt-PT"),
        ("zh", "en", "zh-Hans"),
        ("zh-CN", "en", "zh-Hans"),
        ("zh-SG", "en", "zh-Hans"),
        ("zh-TW", "en", "zh-Hant"),
        ("zh_HK", "en", "zh-Hant"),
        ("zh-MO", "en", "zh-Hant"),
        ("zh-Hant-TW", "en", "zh-Hant"),
        ("zh-Hant-CN", "en", "zh-Hant"),
        ("zh-Hans-TW", "en", "zh-Hans"),
        ("cmn-Hans-CN", "en", "zh-Hans"),
        ("cmn-Hant-TW", "en", "zh-Hant"),
        ("yue", "en", "zh-Hant"),
        ("yue-Hans-CN", "en", "zh-Hans"),
        ("nb", "en", "nb"),
        ("nn-NO", "en", "nb"),
        ("no", "en", "nb"),
        ("no-NO", "en", "nb"),
        ("sr", "en", "sr"),
        ("sr-RS", "en", "sr"),
        ("sr-Cyrl-BA", "en", "sr"),
        ("sr-Latn-RS", "en", "sr-Latn"),
        ("sr-ME", "en", "sr-Latn"),
        ("sh", "en", "sr-Latn"),
        ("bs-BA", "en", "hr"),
        ("he", "en", "he"),
        ("iw-IL", "en", "he"),
        ("id", "en", "id"),
        ("in_ID", "en", "id"),
        ("fil-PH", "en", "fil"),
        ("tl", "en", "fil"),
        ("mo", "en", "ro"),
        ("zsm-MY", "en", "ms"),
        ("prs", "en", "fa"),
        ("eng", "pl", "en"),
        ("de_AT", "en", "de"),
        ("DE-at", "en", "de"),
        ("de-CH-1996", "en", "de"),
        ("de-x-private", "en", "de"),
        ("fr-FR-u-ca-buddhist", "en", "fr"),
        ("ca-valencia", "en", "ca"),
        ("es-419", "en", "es"),
        ("km", "de", "de"),
        ("km-KH", "fr-CA", "fr"),
        ("km", "lo", "en"),
        ("", "tr", "tr"),
        ("-", "tr", "tr"),
        ("english", "pl", "pl"),
        ("und", "pl", "pl"),
        ("und-Latn", "pl", "pl"),
        ("x-klingon", "hi", "hi"),
        ("i-default", "ar", "ar"),
        ("\x00", "en", "en"),
    ],
)
def test_negotiation(locale: str, default: str, language: str) -> None:
    """A tag finds its language and script, then the default's, then English."""
    assert choose(locale, default).language == language


@given(st.text(max_size=40), st.text(max_size=10), st.booleans())
def test_any_locale_finds_a_language(locale: str, default: str, spoken: bool) -> None:
    """Whatever a client writes as its locale, there is a language, with a voice if it is to speak."""
    chosen = choose(locale, default, spoken=spoken)
    assert chosen.language in LANGUAGES
    assert not (spoken and chosen.language in UNSPOKEN)


@given(st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,3}", fullmatch=True))
def test_any_tag_finds_a_language(locale: str) -> None:
    """Neither does any tag of the form that requests allow break the search."""
    assert choose(locale, "en").language in LANGUAGES


@pytest.mark.parametrize("language", sorted(UNSPOKEN))
def test_a_language_without_a_voice(language: str) -> None:
    """It is spoken in the default's language; when that has none either, in English."""
    assert choose(language, "fr-CA", spoken=True) == ("fr", "CA")
    assert choose(language, "ur", spoken=True) == ("en", None)
    assert choose(language, "fr").language == language


@pytest.mark.parametrize(
    ("locale", "spoken"),
    [
        ("de", "de"),
        ("de_at", "de-AT"),
        ("pt-PT", "pt-PT"),
        ("pt-BR", "pt-BR"),
        ("zh-HK", "zh-Hant-HK"),
        ("yue", "zh-Hant-HK"),
        ("es-419", "es-419"),
        ("sr-Latn-ME", "sr-Latn-ME"),
    ],
)
def test_a_territory_is_kept_for_the_voice(locale: str, spoken: str) -> None:
    """The person's region is passed on to choose the voice."""
    assert choose(locale, "en").spoken == spoken


def test_half_a_translation(tmp_path: Path) -> None:
    """What is fuzzy or missing is not used; what is there, is."""
    copy(LOCALES / TEMPLATE, tmp_path)
    text = (LOCALES / "it.po").read_text()
    best, _, short, call = (*messages()["it"].sms, messages()["it"].call)
    assert call
    text = text.replace('#, python-brace-format\nmsgctxt "sms, 2"', '#, fuzzy\nmsgctxt "sms, 2"')
    (tmp_path / "it.po").write_text(text.partition("#. Spoken.")[0])

    found = read(tmp_path)

    assert found == {"en": messages()["en"], "it": ((best, short), None)}


@pytest.mark.parametrize("default", ["km", "und", "english"])
def test_a_default_without_texts(default: str) -> None:
    """A default language without a catalogue is refused, and the others are named."""
    with pytest.raises(
        SettingsError, match=r"KITH_DEFAULT_LOCALE.* for \S+; there are ar, bg, .*zh-Hant"
    ):
        require(default)


def test_the_application_asks_for_the_default(make_app: MakeApp) -> None:
    """It does not start with a default language without a catalogue."""
    with pytest.raises(SettingsError, match="KITH_DEFAULT_LOCALE"):
        make_app(default_locale="km")
    assert make_app(default_locale="de-AT")
    with pytest.raises(ValueError, match="default_locale"):
        Settings(default_locale="German, please")
