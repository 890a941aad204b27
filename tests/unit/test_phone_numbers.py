"""Phone numbers: from what a person typed to E.164, judged with a reason, and masked."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.phone_numbers import (
    TYPE_NAMES,
    PhoneNumber,
    PhoneNumberInvalid,
    mask,
)
from verification.policy.rules import NumberTypeRule

EXAMPLES = [
    (region, kind)
    for region in ("DE", "US", "FR", "GB", "BR", "IN", "CN", "TR", "EG", "PL", "SH", "NU")
    for kind in TYPE_NAMES
    if (example := phonenumbers.example_number_for_type(region, kind))
    # Some plans do not tell fixed lines from mobiles: an example of either is "either" there.
    and phonenumbers.number_type(example) == kind
]


@pytest.mark.parametrize(
    ("text", "region", "reason"),
    [
        ("0151 12345678", None, "country code"),
        ("+999 123456789", None, "country code"),
        ("hello", "DE", "does not look like"),
        ("", "DE", "Enter a phone number."),
        (" \u200b", "DE", "Enter a phone number."),
        ("98765xxxxx", "IN", "digits are hidden; write all"),
        ("(415) 555-XXXX", "US", "digits are hidden; write all"),
        ("234-5678 Mom", "US", "not clear where the number begins or ends"),
        ("+", "DE", "does not look like"),
        ("+49 1", None, "too short"),
        ("+4915112345678901234", None, "too long"),
        ("+1 201 555 01234", None, "too long for its country"),
        ("+1 555 000 0000", None, "No such number"),
        ("+1 555", None, "too short"),
        ("00", "DE", "international prefix"),
        ("110", "DE", "No such number"),
        ("0151 12345678", "ZZ", "no region ZZ"),
        ("0151 12345678", "001", "no region 001"),
        ("1.5112345678E+11", "DE", "spreadsheet"),
    ],
)
def test_each_fault_has_its_reason(text: str, region: str | None, reason: str) -> None:
    """What cannot be a number is refused with what is wrong with it."""
    with pytest.raises(PhoneNumberInvalid) as refused:
        PhoneNumber.parse(text, region)
    assert reason in refused.value.detail


@pytest.mark.parametrize(("region", "kind"), EXAMPLES)
def test_every_kind_is_known(region: str, kind: int) -> None:
    """Libphonenumber's example of each kind is parsed and named."""
    example = phonenumbers.example_number_for_type(region, kind)
    written = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
    number = PhoneNumber.parse(written, region)
    assert number.kind == TYPE_NAMES[kind]


def test_every_kind_can_be_set() -> None:
    """An operator can refuse each kind that libphonenumber tells apart."""
    kinds = tuple(TYPE_NAMES.values())
    assert NumberTypeRule(rule="number-type", deny=kinds).deny == kinds


def test_numbers_of_no_country() -> None:
    """An international number, of no region, is a number too."""
    assert PhoneNumber.parse("+870 773111632").region == "001"


@given(st.text(max_size=64), st.sampled_from([None, "DE", "US", "ZZ"]))
def test_any_text_is_a_number_or_refused(text: str, region: str | None) -> None:
    """Whatever is typed, there is a number to store or a problem to show, and no other end."""
    try:
        number = PhoneNumber.parse(text, region)
    except PhoneNumberInvalid as refused:
        assert refused.detail
    else:
        assert number.e164.startswith("+")
        assert number.e164[1:].isdigit()
        assert len(number.e164) <= 16
        assert PhoneNumber.parse(number.e164) == number


@pytest.mark.parametrize(
    ("e164", "masked"),
    [
        ("+4915112345678", "+49151•••678"),
        ("+12015550123", "+12015•••123"),
        ("+123456789012345", "+12345•••345"),
        ("+29051234", "+29•••"),
        ("+6834567", "+68•••"),
    ],
)
def test_masks(e164: str, masked: str) -> None:
    """A mask shows country and end of a long number, and hardly anything of a short one."""
    assert mask(e164) == masked


@given(st.from_regex(r"\+[1-9][0-9]{5,14}", fullmatch=True))
def test_a_mask_hides_digits(e164: str) -> None:
    """No mask shows so much that fewer than ten numbers look the same."""
    shown = sum(character.isdigit() for character in mask(e164))
    assert len(e164) - 1 - shown >= 1
