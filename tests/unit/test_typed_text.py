"""Typed numbers and codes: the tables of cases, which the client's readings are held against too."""

import json
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from core.phone_numbers import PhoneNumber, PhoneNumberInvalid
from core.typed_fields import read_locale, read_origin
from core.typed_numbers import e164_candidates
from core.typed_text import read_code, visible

DATA = Path(__file__).parents[1] / "data"


def cases(name: str) -> list[Any]:
    """Give a table's rows as parameters, named by what they are about."""
    rows = json.loads((DATA / name).read_text())
    return [pytest.param(row, id=f"{at}-{row['about']}") for at, row in enumerate(rows)]


@pytest.mark.parametrize("case", [*cases("typed_numbers.json"), *cases("typed_surroundings.json")])
def test_typed_numbers(case: dict[str, str | None]) -> None:
    """Each typed text is the number of its row, or is refused with a sentence."""
    assert case["typed"] is not None
    try:
        read = PhoneNumber.parse(case["typed"], case["region"]).e164
    except PhoneNumberInvalid as refused:
        assert refused.detail.endswith(".")
        read = None
    assert read == case["e164"]


@pytest.mark.parametrize("case", cases("typed_codes.json"))
def test_typed_codes(case: dict[str, str]) -> None:
    """Each typed text is the code of its row, or none."""
    assert read_code(case["typed"]) == case["code"]


MOBILES = {
    region: phonenumbers.format_number(example, PhoneNumberFormat.E164)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    if (example := phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE))
}


def test_example_mobiles_of_all_regions() -> None:
    """A mobile with its country code and no plus, with 00, with a word behind: always itself."""
    assert len(MOBILES) >= 244
    wrong = {
        (region, typed): read
        for region, e164 in MOBILES.items()
        for typed in (e164[1:], f"00{e164[1:]}", f"{e164[1:]}.0", f"{e164} neu", f"{e164[1:]},12")
        if (read := PhoneNumber.parse(typed, region).e164) != e164
    }
    assert wrong == {}


def test_example_mobiles_as_their_regions_write_them() -> None:
    """The national form is itself too, and so it is with a word or a pause behind it."""
    national = {
        region: phonenumbers.format_number(phonenumbers.parse(e164), PhoneNumberFormat.NATIONAL)
        for region, e164 in MOBILES.items()
    }
    wrong = {
        (region, typed): read
        for region, text in national.items()
        for typed in (text, f"{text} neu", f"{text} (Mama)", f"{text}p12", f"\u2068{text}\u2069\n")
        if (read := PhoneNumber.parse(typed, region).e164) != MOBILES[region]
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "around",
    [
        *("{} (2)", "{} [2]", "{} (24h)", "{} 24h", "{} 24/7", "{} 8-17 Uhr", "{} (9-17)"),
        *("{} 2. Stock", "{}\u00b9", "{} \u2460", "{}*12", "{} (2 Kids)", "[2] {}", "(privat) {}"),
    ],
)
def test_example_mobiles_with_digits_around_them(around: str) -> None:
    """A count, hours or a floor beside a number are never digits of it, in any region."""
    wrong = {}
    for region, e164 in MOBILES.items():
        shape = phonenumbers.PhoneNumberFormat
        parsed = phonenumbers.parse(e164)
        for form in (shape.E164, shape.INTERNATIONAL, shape.NATIONAL):
            typed = around.format(phonenumbers.format_number(parsed, form))
            try:
                read = PhoneNumber.parse(typed, region).e164
            except PhoneNumberInvalid:
                read = "refused"
            if read != e164:
                wrong[typed, region] = read
    assert wrong == {}


@pytest.mark.parametrize("mask", ["XX", "xxx", "XXXX", "**", "\u2022\u2022\u2022", "##"])
def test_masked_example_mobiles_are_nobodys(mask: str) -> None:
    """Where a run of one sign hides digits, behind others or among them, there is no number."""
    for region, e164 in MOBILES.items():
        for typed in (e164[: -len(mask)] + mask, e164[:5] + mask + e164[5 + len(mask) :]):
            with pytest.raises(PhoneNumberInvalid, match="digits are hidden"):
                PhoneNumber.parse(typed, region)


@given(st.text(max_size=64))
def test_what_is_seen_is_seen_again(text: str) -> None:
    """Cleaning a text twice changes nothing, and leaves nothing invisible or line-ending."""
    seen = visible(text)
    assert visible(seen) == seen
    assert not set("\n\r\t\u200b\u2068\u00ad") & set(seen)


@given(st.text(alphabet="0123456789 -\u2068\u2069\u0661\u0662\uff11", max_size=30))
def test_a_code_is_its_digits(text: str) -> None:
    """A code is 6 or 8 ASCII digits, whatever it was typed as."""
    code = read_code(text)
    assert code is None or (len(code) in (6, 8) and code.isascii() and code.isdigit())


@given(st.text(max_size=64), st.sampled_from([None, "DE", "US", "XX"]))
def test_any_text_has_forms_or_none(text: str, region: str | None) -> None:
    """Whatever is typed, a form is digits after a plus."""
    for e164 in e164_candidates(text, region):
        assert e164[0] == "+"
        assert e164[1:].isascii()
        assert e164[1:].isdigit()


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("+1 (415) 555-0100", None, "+14155550100"),
        ("(415) 555-0100", "US", "+14155550100"),
        ("+1 555 0100", None, "+15550100"),
        (" ＋999 123456789", None, "+999123456789"),
    ],
)
def test_forms_of_numbers_that_need_not_exist(text: str, region: str | None, e164: str) -> None:
    """What a person typed has an E.164 form even where libphonenumber knows of no such number."""
    assert e164 in e164_candidates(text, region)


@pytest.mark.parametrize(
    ("text", "region"),
    [("0151 12345678", None), ("0151 12345678", "XX"), ("hello", "DE"), ("+", None)],
)
def test_no_form(text: str, region: str | None) -> None:
    """What names no country has no form."""
    assert e164_candidates(text, region) == []


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("de", "de"),
        ("pt-BR", "pt-BR"),
        ("pt_BR", "pt-BR"),
        ("zh_TW_#Hant", "zh-TW-Hant"),
        ("zh-Hant-TW", "zh-Hant-TW"),
        ("en_US.UTF-8", "en-US"),
        ("de_DE@euro", "de-DE"),
        ("ca_ES.utf8@valencia", "ca-ES"),
        ("de-DE,de;q=0.9,en;q=0.8", "de-DE"),
        ("th_TH_TH_#u-nu-thai", "th-TH-TH-u-nu-thai"),
        ("\u2068fr\u2069\n", "fr"),
        ("en-" + "x" * 9, "en"),
        ("en" + "-abcdefgh" * 9, "en-abcdefgh-abcdefgh-abcdefgh"),
        ("", None),
        ("C", None),
        ("C.UTF-8", None),
        ("POSIX", None),
        ("*", None),
        ("-", None),
        ("Deutsch, bitte", None),
        ("x" * 10_000, None),
        ("\u0000", None),
    ],
)
def test_locales_as_phones_write_them(text: str, tag: str | None) -> None:
    """A locale is read as its language, and what is none is none: nobody is refused over it."""
    assert read_locale(text) == tag


@given(st.text())
def test_any_text_is_a_locale_or_none(text: str) -> None:
    """Whatever a phone says its locale is, a tag that fits its column is made of it, or nothing."""
    tag = read_locale(text)
    assert tag is None or 2 <= len(tag) <= 35


@pytest.mark.parametrize(
    "text",
    [
        "example.com",
        "https://example.com",
        "https://example.com/",
        "https://example.com:443",
        "HTTPS://EXAMPLE.COM:443/",
        " https://example.com\n",
    ],
)
def test_one_origin_however_it_is_written(text: str) -> None:
    """Case, the default port and the slash at the end say nothing."""
    assert read_origin(text) == "example.com"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://example.com",
        "https://example.com:8443",
        "https://example.com/login",
        "https://example.com?",
        "https://user@example.com",
        "https://",
        "example.com.",
        "-example.com",
        "null",
        "NULL",
        "https://a..b",
        "https://a-.b",
        "https://" + "x" * 64 + ".example",
        ".example.com",
        "a." * 50 + "b",
        "x" * 101,
    ],
)
def test_what_is_no_origin(text: str) -> None:
    """Another scheme, port or path is refused in words."""
    with pytest.raises(ValueError, match=r"^A web origin is https:// and a host name.*\.$"):
        read_origin(text)
