"""Bodies of the Matrix adapter: what is of another form is told the right one, in a sentence."""

from typing import Any

import pytest
from pydantic import ValidationError

from core.parsing import invalid_fields
from interop.matrix.schemas import RequestToken, ThirdPartyId

REQUEST = {
    "client_secret": "monkeys_are_GREAT",
    "country": "DE",
    "phone_number": "0151 12345678",
    "send_attempt": 1,
    "next_link": "https://example.org/next",
}


@pytest.mark.parametrize(
    ("model", "body", "sentence"),
    [
        (
            RequestToken,
            REQUEST | {"client_secret": "not a secret"},
            "A sid or client_secret has 1 to 255 characters: letters, digits and any of . = _ -.",
        ),
        (
            RequestToken,
            REQUEST | {"client_secret": "secret\n"},
            "A sid or client_secret has 1 to 255 characters: letters, digits and any of . = _ -.",
        ),
        (RequestToken, REQUEST | {"phone_number": ""}, "Enter a phone number."),
        (
            RequestToken,
            REQUEST | {"next_link": "javascript:alert(1)"},
            "A next_link begins with https:// or http:// and contains no spaces.",
        ),
        (
            ThirdPartyId,
            {"medium": "msisdn", "address": "+4915112345678"},
            "Write the address as digits with country code and without +, such as 4915112345678.",
        ),
    ],
)
def test_another_form_is_told_the_right_one(
    model: type[Any], body: dict[str, Any], sentence: str
) -> None:
    """No regular expression, no reference to a document: what to write."""
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    assert invalid_fields(refused.value).detail == sentence


def test_the_right_forms_are_taken() -> None:
    """And a link may be left out."""
    assert RequestToken.model_validate(REQUEST).next_link == "https://example.org/next"
    assert RequestToken.model_validate(REQUEST | {"next_link": None}).next_link is None
    assert RequestToken.model_json_schema()["properties"]["client_secret"]["pattern"]
