"""Numbers become E.164 where they can, and say why where they cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.contacts import NumberUnreadable, normalise, region_of


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("+49 151 12345678", None, "+4915112345678"),
        ("0151/12345678", "DE", "+4915112345678"),
        ("(905) 555-1234", "US", "+19055551234"),
        ("tel:+1-418-656-9254;ext=102", "DE", "+14186569254"),
        ("tel:656-9254;phone-context=+1-418", None, "+14186569254"),
        ("+1 418 656 9254 x102", None, "+14186569254"),
        ("'+4915112345678", None, "+4915112345678"),
        ("1-800-FLOWERS", "US", "+18003569377"),
        ("\u0660\u0661\u0665\u0661 12345678", "DE", "+4915112345678"),
        ("+1 111 555 4444", None, "+11115554444"),
    ],
)
def test_possible_numbers_count(text: str, region: str | None, e164: str) -> None:
    """A number of a possible length is taken, valid or not, and its extension is dropped."""
    assert normalise(text, region) == e164


@pytest.mark.parametrize(
    ("text", "region", "reason"),
    [
        ("", "DE", "not a phone number"),
        ("Ann", "DE", "not a phone number"),
        ("0151 12345678", None, "country code"),
        ("+999 1234567", None, "country code"),
        ("1", "DE", "not a phone number|too short"),
        ("+49 1", None, "length|too short"),
        ("9" * 30, "DE", "too long|length"),
        ("1" * 500, "DE", "too long"),
        ("00", "DE", "too short|not a phone"),
        ("4.91512E+12", "DE", "spreadsheet"),
    ],
)
def test_impossible_numbers_say_why(text: str, region: str | None, reason: str) -> None:
    """The reason is for people, and does not repeat the text."""
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


@given(st.text(max_size=60), st.sampled_from([None, "DE", "US", "XX"]))
def test_no_text_makes_it_fail(text: str, region: str | None) -> None:
    """Every text becomes E.164 or a reason."""
    try:
        e164 = normalise(text, region)
    except NumberUnreadable as reason:
        assert str(reason)
    else:
        assert e164.startswith("+")
        assert e164[1:].isdigit()
