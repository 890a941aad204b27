"""Texts of codes: one segment in every language, the code first, the last line exact; and calls."""

import re
import string
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_catalogues import LANGUAGES, UNSPOKEN
from verification.catalogues import messages
from verification.settings import MAX_APP_NAME_LENGTH
from verification.texts import BARE, GSM_BASIC, call_script, segments, sms_text

SPOKEN = [language for language in LANGUAGES if language not in UNSPOKEN]
CODES = ["314159", "31415926"]
NAMES = ["K", "Kith", "W" * MAX_APP_NAME_LENGTH, "A&B-c. D 9" * 2]
HASH = "FA+9qCX9/Su"
MAX_HOST = "a" * 48 + "." + "b" * 47 + ".com"

names = st.text(
    string.ascii_letters + string.digits + " .&-", min_size=1, max_size=MAX_APP_NAME_LENGTH
)
hosts = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,98}[a-z0-9])?", fullmatch=True)
ENDINGS: list[dict[str, str]] = [
    {},
    {"app_hash": HASH},
    {"web_origin": "a.io"},
    {"web_origin": "accounts.example.com"},
    {"web_origin": MAX_HOST},
]

codes = st.from_regex(r"[0-9]{6}([0-9]{2})?", fullmatch=True)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_one_segment(language: str) -> None:
    """Whatever the language, name, code and last line: one segment, the code in front and once."""
    assert len(MAX_HOST) == 100
    for name, code, ending in product(NAMES, CODES, ENDINGS):
        body, chosen = sms_text(language, "en", name, code, **ending)

        assert segments(body) == 1
        assert chosen == language
        text, *last = body.split("\n")
        assert text.startswith(f"{code} ")
        assert name in text
        assert re.findall(r"\d{6,8}", text) == [code]
        if "app_hash" in ending:
            assert last == [HASH]
        elif "web_origin" in ending:
            assert last == [f"@{ending['web_origin']} #{code}"]
        else:
            assert last == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_wording_has_its_place(language: str) -> None:
    """The best is what people usually get, the second leaves room for any name, and warns.

    The third has room for a hash, or for an origin of usual length.
    """
    best, second, short = messages()[language].sms
    longest, eight = "W" * MAX_APP_NAME_LENGTH, "31415926"
    usual = {"web_origin": "accounts.example.com"}

    plain, _ = sms_text(language, "en", "Kith", "314159")
    roomy, _ = sms_text(language, "en", longest, eight)
    bound, _ = sms_text(language, "en", "Kith", "314159", **usual)
    hashed, _ = sms_text(language, "en", "Kith", eight, app_hash=HASH)

    assert plain == best.format(code="314159", app="Kith")
    assert roomy in {text.format(code=eight, app=longest) for text in (best, second)}
    assert (
        segments(short.format(code="314159", app="Kith") + "\n@accounts.example.com #314159") == 1
    )
    bare = {BARE.format(code=code, app="Kith") for code in ("314159", eight)}
    assert not {bound.split("\n")[0], hashed.split("\n")[0]} & bare


def test_the_longest_origin_leaves_words_in_gsm_only() -> None:
    """A host of 100 characters leaves words where the shortest text is in the GSM alphabet.

    Elsewhere it takes more than the 70 units of a segment, and the bare code, in ASCII, stays.
    """
    worded = {
        language
        for language in LANGUAGES
        if not sms_text(language, "en", "Kith", "314159", web_origin=MAX_HOST)[0].startswith(
            BARE.format(code="314159", app="Kith")
        )
    }
    assert worded == {
        language
        for language in LANGUAGES
        if GSM_BASIC.issuperset(messages()[language].sms[-1].format(code="", app=""))
    }


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
    with pytest.raises(ValueError, match="not both"):
        sms_text("en", "en", "Kith", "314159", web_origin="example.com", app_hash=HASH)


def test_what_cannot_fit_is_refused() -> None:
    """A last line beyond every bound is an error, not a second segment."""
    with pytest.raises(ValueError, match="too long"):
        sms_text("en", "en", "Kith", "314159", web_origin="a" * 200)


@pytest.mark.parametrize("language", SPOKEN)
@pytest.mark.parametrize("code", CODES)
def test_call_says_the_digits_twice(language: str, code: str) -> None:
    """A call says each digit on its own, twice, and never the code as one number."""
    said = call_script(language, "en", "Kith", code)

    assert said.language == language
    assert said.body.count(", ".join(code)) == 2
    assert "Kith" in said.body
    assert not re.search(r"\d{2}", said.body)
    before, after = said.parts[0], said.parts[-1]
    between = said.parts[len(code) + 1]
    assert said.parts == (before, *code, between, *code, after)
    assert all(words[0].isalpha() or words[0] == "¡" for words in (before, between, after))


def test_call_names_the_territory() -> None:
    """The voice of the person's region is used, and the default's where their language has none."""
    assert call_script("fr-CA", "en", "Kith", "314159").language == "fr-CA"
    spoken = call_script("fa-IR", "pt-BR", "Kith", "314159")
    assert spoken == call_script("pt-BR", "en", "Kith", "314159")
    assert spoken.language == "pt-BR"


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
