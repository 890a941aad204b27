"""Numbers become E.164 where they can, and say why where they cannot."""

import json
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.contacts import NumberUnreadable, normalise, readings, region_named, region_of
from kith.contacts.contact import written_numbers
from kith.contacts.numbering_plans import is_valid, may_start_with_prefix, split_calling_code

TYPED = json.loads((Path(__file__).parents[2] / "data" / "typed_numbers.json").read_text())
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize("case", TYPED, ids=lambda case: case["about"])
def test_what_people_type_is_read_as_the_service_reads_it(case: dict[str, str | None]) -> None:
    """One table of cases holds the service's reading and the client's."""
    region = region_named(case["region"] or "")
    if case["e164"] is None:
        with pytest.raises(NumberUnreadable):
            readings(case["typed"] or "", region)
    else:
        assert normalise(case["typed"] or "", region) == case["e164"]


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("0151/12345678", "DE", "+4915112345678"),
        ("(905) 555-1234", "US", "+19055551234"),
        ("tel:+1-418-656-9254;ext=102", "DE", "+14186569254"),
        ("tel:656-9254;phone-context=+1-418", None, "+14186569254"),
        ("tel:+1%20415%20555%200101", "US", "+14155550101"),
        ("tel:+1-415-555-0188;npdi;rn=+1-415-555-0101", "US", "+14155550188"),
        ("callto:+14155550101", None, "+14155550101"),
        ("tel://+14155550101", None, "+14155550101"),
        ("'+4915112345678", None, "+4915112345678"),
        ('="+4915112345678"', None, "+4915112345678"),
        ("=+4915112345678", None, "+4915112345678"),
        ("1-212-555-TAXI", "US", "+12125558294"),
        ("0800 FLOWERS", "GB", "+448003569377"),
        ("+48 0512 345 678", "DE", "+48512345678"),
        ("+39 (0)6 12345678 B\u00fcro", "DE", "+390612345678"),
        ("0039 (0)6 12345678", "DE", "+390612345678"),
        ("+0049 1511 2345678", "US", "+4915112345678"),
        ("0011 49 1511 2345678", "AU", "+4915112345678"),
        ("001 49 1511 2345678", "SG", "+4915112345678"),
        ("01149 15112345678", "US", "+4915112345678"),
        ("*31#0151 12345678", "DE", "+4915112345678"),
        ("Tel. 2: 0151 12345678", "DE", "+4915112345678"),
        ("070 123 45 67 (Axel)", "SE", "+46701234567"),
        ("+14155550101;4155550188", "US", "+14155550101"),
        ("4915112345678@s.whatsapp.net", "US", "+4915112345678"),
        ("4915112345678:12@c.us", None, "+4915112345678"),
        ("8 (916) 123-45-67", "RU", "+79161234567"),
        ("07911 123456", "uk", "+447911123456"),
        ("1-800-flowers", "US", "+18003569377"),
        ("0800 REIMANN", "NZ", "+648007346266"),
        ("(0xx11) 98765-4321", "BR", "+5511987654321"),
        ("0151 12345678 O2", "DE", "+4915112345678"),
        ("030 123456 (2)", "DE", "+4930123456"),
        ("030 123456 24h", "DE", "+4930123456"),
        ("030 123456 (24h)", "DE", "+4930123456"),
        ("030 123456 8-17 Uhr", "DE", "+4930123456"),
        ("030 123456 2. Stock", "DE", "+4930123456"),
        ("030 123456\u00b2", "DE", "+4930123456"),
        ("\u2460 030 123456", "DE", "+4930123456"),
        ("030 123456 \u2461", "DE", "+4930123456"),
        ("Handy 2 0151 12345678", "DE", "+4915112345678"),
        ("2) 0151 12345678", "DE", "+4915112345678"),
        ("#1 415 555 2671", "US", "+14155552671"),
        ("2. 415 555 2671", "US", "+14155552671"),
        ("(030) 12345(67)", "DE", "+493012345"),
    ],
)
def test_odd_writings_are_read(text: str, region: str | None, e164: str) -> None:
    """What stands around a number, and how it is divided, does not change it."""
    assert normalise(text, region) == e164


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("98765xxxxx", "IN"),
        ("+91 98765 XXXXX", "IN"),
        ("98765*****", "IN"),
        ("+91-98765-\u2022\u2022\u2022\u2022\u2022", "IN"),
        ("98765#####", "IN"),
        ("(415) 555-XXXX", "US"),
        ("+1 (415) XXX-2671", "US"),
        ("XXX-234-5678", "US"),
        ("030 123456xx", "DE"),
        ("030 123456 x x", "DE"),
    ],
)
def test_masked_numbers_are_nobodys(text: str, region: str) -> None:
    """What a mask leaves of a number may be somebody else's, and its letters are no digits."""
    with pytest.raises(NumberUnreadable, match="hidden"):
        readings(text, region)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("0664 l234567", "AT"),
        ("030 l234567", "DE"),
        ("030 123456l", "DE"),
        ("030 12345O7", "DE"),
        ("030 1234a567", "DE"),
        ("O30 123456", "DE"),
        ("415 555 267l", "US"),
        ("020 7946 0O18", "GB"),
    ],
)
def test_a_letter_among_digits_is_never_dropped(text: str, region: str) -> None:
    """It may be a digit that somebody mistyped: the number without it is another one."""
    with pytest.raises(NumberUnreadable, match="letter"):
        readings(text, region)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("234-5678 Mom", "US"),
        ("387-5678 new", "US"),
        ("234 5678 Bob", "CA"),
        ("9876543 ABC", "IN"),
        ("0151 Mamahandy", "DE"),
        ("0664 Mamahandy", "AT"),
        ("0800 1234 Anna", "DE"),
        ("089 B234567", "DE"),
        ("+49 151 MAMAHAND", None),
    ],
)
def test_words_behind_a_number_that_lacks_digits_are_none_of_them(
    text: str, region: str | None
) -> None:
    """Only a word that a number is given out for is read as digits."""
    with pytest.raises(NumberUnreadable):
        readings(text, region)


@pytest.mark.parametrize(
    ("text", "region", "found"),
    [
        ("0043664/1234567", "AT", ["+436641234567"]),
        ("0043 664/2234567", "DE", ["+436642234567"]),
        ("+491512/3456789", "US", ["+4915123456789"]),
        ("+43(0)664/1234567", "AT", ["+436641234567"]),
        ("+436641234567/0664 2345678", "AT", ["+436641234567", "+436642345678"]),
        ("415-555-2671 (h) 415-555-2672 (c)", "US", ["+14155552671", "+14155552672"]),
        ("Home: 415 555 2671 Mobile: 415 555 2672", "US", ["+14155552671", "+14155552672"]),
        ("h:415 555 2671 w:415 555 2672", "US", ["+14155552671", "+14155552672"]),
        ("415 555 2671 \u2022 415 555 2672", "US", ["+14155552671", "+14155552672"]),
        ("415 555 2671 (see also 415 555 2672)", "US", ["+14155552671", "+14155552672"]),
        ("0151 12345678 (privat) 030 1234567", "DE", ["+4915112345678", "+49301234567"]),
        ("0151 12345678 Kd.-Nr. 0170 1234567", "DE", ["+4915112345678"]),
        ("+49 151 12345678 Mama 2024-01-02", "DE", ["+4915112345678"]),
        ("0151 12345678 ext 1234567", "DE", ["+4915112345678"]),
    ],
)
def test_a_cell_is_divided_between_numbers_only(text: str, region: str, found: list[str]) -> None:
    """A mark inside a number divides nothing, and a second number behind words is not lost."""
    numbers = [readings(part.text, region)[0] for part in written_numbers(text, 1)]

    assert numbers == found


def test_a_word_does_not_keep_a_local_number_from_its_area() -> None:
    """It is cut, and the number is completed."""
    assert readings("234-5678 Mom", "US", "+14155550100") == ("+14152345678",)


@pytest.mark.parametrize(
    ("text", "region", "found"),
    [
        ("+54 9 11 2345 6789", None, {"+5491123456789", "+541123456789"}),
        ("011 2345 6789", "AR", {"+5491123456789", "+541123456789"}),
        ("4915112345678", "DE", {"+4915112345678", "+494915112345678"}),
        ("+55 11 8765 4321", None, {"+5511987654321"}),
        ("+52 1 55 1234 5678", None, {"+525512345678"}),
        ("045 55 1234 5678", "MX", {"+525512345678"}),
        ("12015550123", "US", {"+12015550123"}),
    ],
)
def test_all_forms_that_can_be_registered_are_asked_about(
    text: str, region: str | None, found: set[str]
) -> None:
    """Where two readings are valid both are returned, once each."""
    numbers = readings(text, region)

    assert set(numbers) == found
    assert len(numbers) == len(found)


@pytest.mark.parametrize(
    ("text", "region", "own_number", "found"),
    [
        ("555-0101", "US", "+14155550100", ["+14155550101"]),
        ("5550101", "CA", "+14165550123", ["+14165550101"]),
        ("15 2345 6789", "AR", "+5491123456780", ["+5491123456789", "+541123456789"]),
        ("2345 6789", "AR", "+541123456780", ["+541123456789", "+5491123456789"]),
        ("98765-4321", "BR", "+5511987654320", ["+5511987654321"]),
        ("8765-4321", "BR", "+5511987654320", ["+5511987654321"]),
        ("123456", "DE", "+4930123457", ["+4930123456"]),
        ("555-0101 home", "US", "+14155550100", ["+14155550101"]),
    ],
)
def test_local_numbers_are_of_the_own_area(
    text: str, region: str, own_number: str, found: list[str]
) -> None:
    """A number without area code is completed with that of one's own number."""
    assert list(readings(text, region, own_number)) == found


@pytest.mark.parametrize(
    ("text", "region", "own_number", "found"),
    [
        ("30123456", "DE", "+493012345678", ["+4930123456", "+493030123456"]),
        ("030 123456", "DE", "+493012345678", ["+4930123456"]),
        ("415 555 0101", "US", "+14155550100", ["+14155550101"]),
        ("30123456", "DE", "+4915112345678", ["+4930123456"]),
    ],
)
def test_without_a_trunk_prefix_a_number_may_be_of_the_own_area(
    text: str, region: str, own_number: str, found: list[str]
) -> None:
    """Both readings are asked about."""
    assert list(readings(text, region, own_number)) == found


@pytest.mark.parametrize(
    ("text", "region", "own_number"),
    [
        ("555-0101", "US", None),
        ("555-0101", "US", "+4915112345678"),
        ("123456", "DE", "+4915112345678"),
        ("110", "DE", "+4930123456"),
        ("911", "US", "+14155550100"),
        ("+15550101", "US", "+14155550100"),
        ("555-0101", "US", "nonsense"),
    ],
)
def test_local_numbers_stay_unread_where_nothing_tells_the_area(
    text: str, region: str, own_number: str | None
) -> None:
    """A mobile number has no area in most countries, and an emergency number none at all."""
    with pytest.raises(NumberUnreadable):
        readings(text, region, own_number)


@pytest.mark.parametrize(
    ("text", "region", "reason"),
    [
        ("", "DE", "not a phone number"),
        ("Ann", "DE", "not a phone number"),
        ("0151 12345678", None, "without a known country code"),
        ("+999 1234567", None, "without a known country code"),
        ("1", "DE", r"not a phone number|too short"),
        ("+49 1", None, "length|too short"),
        ("9" * 30, "DE", "too long|length"),
        ("1" * 500, "DE", "too long"),
        ("1" * 5000, "DE", "too long"),
        ("00", "DE", "too short|not a phone"),
        ("4.91512E+12", "DE", "spreadsheet"),
        ("555-0101", "US", r"without area code \(US was assumed\)"),
        ("0151 1234", "DE", r"no such number exists in its country \(DE was assumed\)"),
        ("+1 111 555 4444", "US", r"no such number exists in its country$"),
    ],
)
def test_impossible_numbers_say_why(text: str, region: str | None, reason: str) -> None:
    """The reason is for people, names the country that was assumed, and does not repeat the text."""
    with pytest.raises(NumberUnreadable, match=reason):
        normalise(text, region)


@pytest.mark.parametrize(
    ("e164", "region"),
    [
        ("+4915112345678", "DE"),
        ("+442079460000", "GB"),
        ("+12025550100", "US"),
        ("+18003569377", "US"),
        ("+11115554444", "US"),
        ("+80012345678", None),
        ("nonsense", None),
    ],
)
def test_region_of_a_number(e164: str, region: str | None) -> None:
    """The own number tells the country of numbers written without one."""
    assert region_of(e164) == region


@pytest.mark.parametrize(
    ("text", "region"),
    [("DE", "DE"), ("de", "DE"), (" uk ", "GB"), ("EL", "GR"), ("Germany", None), ("001", None)],
)
def test_countries_are_named_as_people_name_them(text: str, region: str | None) -> None:
    """In any case, and the United Kingdom and Greece by the letters that people use."""
    assert region_named(text) == region


@pytest.mark.parametrize("region", REGIONS)
def test_the_examples_of_every_region_are_read(region: str) -> None:
    """Written in every common way, a number is first of all itself."""
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None:
            continue
        e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        abroad = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        at_home = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
        for text in (e164, abroad, f"00{e164[1:]}", f"{abroad} neu", f"\u202a{abroad}\u202c"):
            assert readings(text, None)[0] == e164
            assert readings(text, region)[0] == e164
        # Letters in front send it the long way round, which says the same.
        assert e164 in readings(at_home, region) == readings(f"Tel: {at_home}", region)
        if kind == phonenumbers.PhoneNumberType.MOBILE:
            assert readings(f"{at_home} (neu)", region)[0] == readings(at_home, region)[0]


@st.composite
def national_numbers(draw: st.DrawFn) -> tuple[int, str]:
    """Return a calling code and digits near those of a number that exists."""
    code = draw(st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)))
    region = draw(st.sampled_from(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]))
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    kinds = (metadata.fixed_line, metadata.mobile, metadata.toll_free, metadata.voip, metadata.uan)
    known = [kind.example_number for kind in kinds if kind is not None and kind.example_number]
    digits = list(draw(st.sampled_from(known))) if known else list("1234567")
    for place in draw(st.lists(st.integers(0, len(digits) - 1), max_size=4)):
        digits[place] = draw(st.sampled_from("0123456789"))
    return code, "".join(digits)[: draw(st.integers(len(digits) - 1, len(digits)))]


@given(national_numbers())
def test_validity_is_the_librarys(number: tuple[int, str]) -> None:
    """The compiled rules say what libphonenumber says, and a number that they take is read as it is."""
    code, digits = number
    zeros = len(digits) - len(digits.lstrip("0"))
    parsed = phonenumbers.PhoneNumber(
        country_code=code,
        national_number=int(digits),
        italian_leading_zero=zeros > 0 or None,
        number_of_leading_zeros=zeros if zeros > 1 else None,
    )
    assert is_valid(code, digits) is phonenumbers.is_valid_number(parsed)
    if is_valid(code, digits) and not may_start_with_prefix(code, digits):
        e164 = f"+{code}{digits}"
        assert split_calling_code(e164[1:]) == number
        read = phonenumbers.parse(e164)
        assert phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164) == e164


@given(
    st.text(max_size=60) | st.from_regex(r"[+0-9 ()./x,;p*#-]{3,25}", fullmatch=True),
    st.sampled_from([None, "DE", "US", "SG", "AR", "MX", "BR", "WS", "XX"]),
    st.sampled_from([None, "+4930123456", "+14155550101"]),
)
def test_no_text_makes_it_fail(text: str, region: str | None, own_number: str | None) -> None:
    """Every text becomes valid E.164 numbers or a reason; without a plus it stays at home, unless it
    begins with what is dialled there before a country code.
    """
    try:
        found = readings(text, region, own_number)
    except NumberUnreadable as reason:
        assert str(reason)
        return
    for e164 in found:
        assert phonenumbers.is_valid_number(phonenumbers.parse(e164))
        if "+" not in text and "\uff0b" not in text and region is not None and "@" not in text:
            digits = phonenumbers.normalize_digits_only(text)
            home = f"+{phonenumbers.country_code_for_region(region)}"
            assert e164.startswith(home) or "00" in digits or "011" in digits
