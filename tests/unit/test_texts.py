"""Texts of codes: one segment in every language, the code first, the last line exact."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings import LONGEST_APP_NAME
from verification.texts import BARE, GSM_BASIC, WORDINGS, segments, sms_text, voice_text

LANGUAGES = ["en", "de", "es", "fr", "pt", "pl", "tr", "ar", "hi", "zh"]
CODES = ["314159", "31415926"]
NAMES = ["K", "Kith", "W" * LONGEST_APP_NAME, "A&B-c. D 9" * 2]
HASH = "FA+9qCX9/Su"
LONGEST_HOST = "a" * 48 + "." + "b" * 47 + ".com"

names = st.text(
    string.ascii_letters + string.digits + " .&-", min_size=1, max_size=LONGEST_APP_NAME
)
hosts = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,98}[a-z0-9])?", fullmatch=True)
codes = st.from_regex(r"[0-9]{6}([0-9]{2})?", fullmatch=True)


def test_ten_languages() -> None:
    """The languages promised are the ones there are."""
    assert sorted(WORDINGS) == sorted(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "ending",
    [{}, {"app_hash": HASH}, {"web_origin": "example.com"}, {"web_origin": LONGEST_HOST}],
    ids=["plain", "hash", "origin", "longest-origin"],
)
def test_every_text_is_one_segment(
    language: str, name: str, code: str, ending: dict[str, str]
) -> None:
    """Whatever the language, name, code and last line: one segment, the code in front and once."""
    body, chosen = sms_text(language, "en", name, code, **ending)

    assert segments(body) == 1
    assert chosen == language
    assert body.startswith(code)
    assert name in body
    text, *last = body.split("\n")
    assert re.findall(r"\d{6,8}", text) == [code]
    if "app_hash" in ending:
        assert last == [HASH]
    elif "web_origin" in ending:
        assert last == [f"@{ending['web_origin']} #{code}"]
    else:
        assert last == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", CODES)
def test_a_plain_text_warns_and_speaks_its_language(language: str, code: str) -> None:
    """Without a last line, even the longest name leaves room for the words that protect."""
    warnings = {
        "en": "Do not share it",
        "de": "Bitte niemandem mitteilen",
        "es": "No lo compartas",
        "fr": "Ne le communiquez à personne",
        "pt": "Não o revele a ninguém",
        "pl": "Nikomu go nie podawaj",
        "tr": "Bu kodu kimseye vermeyin",
        "ar": "لا تشاركه مع أحد",
        "hi": "इसे किसी को न बताएं",
        "zh": "请勿泄露给他人",
    }

    body, _ = sms_text(language, "en", "W" * LONGEST_APP_NAME, code)

    assert warnings[language] in body


@pytest.mark.parametrize("language", LANGUAGES)
def test_common_origins_keep_words(language: str) -> None:
    """An origin of usual length does not push out all words; only a long one leaves the bare code."""
    usual, _ = sms_text(language, "en", "Kith", "314159", web_origin="accounts.example.com")
    longest, _ = sms_text(language, "en", "Kith", "314159", web_origin=LONGEST_HOST)

    bare = BARE.format(code="314159", app="Kith")
    assert not usual.startswith(bare)
    assert longest.startswith(bare) is (language in {"pt", "ar", "hi", "zh"})


@pytest.mark.parametrize("language", LANGUAGES)
def test_wordings_go_from_best_to_shortest(language: str) -> None:
    """Each wording holds the code and the name once, and the last one is the shortest."""
    wordings = WORDINGS[language].sms

    for wording in wordings:
        assert (wording.count("{code}"), wording.count("{app}")) == (1, 1)
        assert wording.startswith("{code} ")
    assert min(wordings, key=len) == wordings[-1]


@given(st.sampled_from(LANGUAGES), names, codes, hosts)
def test_any_origin_fits(language: str, name: str, code: str, host: str) -> None:
    """Every host and name that the settings allow gives one segment and the exact last line."""
    body, _ = sms_text(language, "en", name, code, web_origin=host)

    text, line = body.split("\n")
    assert segments(body) == 1
    assert line == f"@{host} #{code}"
    assert text.startswith(f"{code} ") and text.count(code) == 1 + name.count(code)


@given(
    st.sampled_from(LANGUAGES),
    names,
    codes,
    st.text(string.ascii_letters + string.digits + "+/", min_size=11, max_size=11),
)
def test_any_hash_fits(language: str, name: str, code: str, app_hash: str) -> None:
    """Every hash and name gives one segment that ends in the hash's own line."""
    body, _ = sms_text(language, "en", name, code, app_hash=app_hash)

    assert segments(body) == 1
    assert body.split("\n")[1:] == [app_hash]


def test_two_last_lines_are_refused() -> None:
    """An origin and a hash cannot both be last."""
    with pytest.raises(ValueError, match="not in both"):
        sms_text("en", "en", "Kith", "314159", web_origin="example.com", app_hash=HASH)


def test_what_cannot_fit_is_refused() -> None:
    """A last line beyond every bound is an error, not a second segment."""
    with pytest.raises(ValueError, match="too long"):
        sms_text("en", "en", "Kith", "314159", web_origin="a" * 200)


@pytest.mark.parametrize(
    ("locale", "default", "language"),
    [
        ("en", "de", "en"),
        ("pt-BR", "en", "pt"),
        ("zh-Hant-TW", "en", "zh"),
        ("cmn-Hans-CN", "en", "zh"),
        ("de_AT", "en", "de"),
        ("DE-at", "en", "de"),
        ("fr-FR-u-ca-buddhist", "en", "fr"),
        ("es-419", "en", "es"),
        ("it", "de", "de"),
        ("it-IT", "fr-CA", "fr"),
        ("it", "nl", "en"),
        ("", "tr", "tr"),
        ("-", "tr", "tr"),
        ("english", "pl", "pl"),
        ("eng", "pl", "pl"),
        ("x-klingon", "hi", "hi"),
        ("i-default", "ar", "ar"),
        ("\x00", "en", "en"),
    ],
)
def test_locales(locale: str, default: str, language: str) -> None:
    """A tag is matched by its language, then the default's, then English."""
    assert sms_text(locale, default, "Kith", "314159")[1] == language
    assert (
        voice_text(locale, default, "Kith", "314159")[0]
        == voice_text(language, "en", "Kith", "314159")[0]
    )


@given(st.text(max_size=40), st.text(max_size=10))
def test_any_locale_gives_a_text(locale: str, default: str) -> None:
    """Whatever a client writes as its locale, there is a text and a voice."""
    assert sms_text(locale, default, "Kith", "314159")[1] in LANGUAGES
    assert voice_text(locale, default, "Kith", "314159")[1][:2] in LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", CODES)
def test_call_says_the_digits_twice(language: str, code: str) -> None:
    """A call says each digit on its own, twice, and never the code as one number."""
    body, _ = voice_text(language, "en", "Kith", code)

    assert body.count(", ".join(code)) == 2
    assert "Kith" in body
    assert not re.search(r"\d{2}", body)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_full_stop_after_a_digit(language: str) -> None:
    """A digit before a full stop would be read as an ordinal in German, Polish and Turkish."""
    body, _ = voice_text(language, "en", "Kith", "314159")

    assert not re.search(r"\d\s*\.", body)


@pytest.mark.parametrize(
    ("locale", "voice"),
    [
        ("en", "en-US"),
        ("en-GB", "en-GB"),
        ("en_gb", "en-GB"),
        ("en-ZZ", "en-US"),
        ("en-Latn-GB", "en-GB"),
        ("pt", "pt-BR"),
        ("pt-PT", "pt-PT"),
        ("es-419", "es-ES"),
        ("es-MX", "es-MX"),
        ("de", "de-DE"),
        ("fr-CA", "fr-CA"),
        ("pl-PL", "pl-PL"),
        ("tr-TR", "tr-TR"),
        ("ar-EG", "ar-XA"),
        ("hi", "hi-IN"),
        ("zh-Hant-TW", "zh-CN"),
        ("it-IT", "en-US"),
    ],
)
def test_voices(locale: str, voice: str) -> None:
    """A call speaks with the voice of the region where there is one, or of the language."""
    assert voice_text(locale, "en", "Kith", "314159")[1] == voice


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("@" * 160, 1),
        ("à" * 160, 1),
        ("€" * 80, 1),
        ("€" * 80 + "a", 2),
        ("a" * 152 + "€" * 5, 2),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("ç" * 134, 2),
        ("ç" * 135, 3),
        ("a" * 69 + "ó", 1),
        ("a" * 70 + "ó", 2),
        ("😀" * 35, 1),
        ("😀" * 35 + "a", 2),
        ("😀" * 66, 2),
        ("😀" * 67, 3),
        ("`" + "a" * 70, 2),
    ],
)
def test_segments(text: str, count: int) -> None:
    """Septets, escapes, UTF-16 units and the space of headers are counted as phones do."""
    assert segments(text) == count


def test_gsm_table_is_whole() -> None:
    """The basic table has 127 characters besides the escape, and all of ASCII's letters."""
    assert len(GSM_BASIC) == 127
    assert set(string.ascii_letters + string.digits + "\n\r") <= GSM_BASIC
    assert not set("çáíóúãõêâ`^{}[]~|\\€") & GSM_BASIC
