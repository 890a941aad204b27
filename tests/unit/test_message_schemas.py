"""The wire form of ciphertext."""

import base64
import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from messaging.mailbox.schemas import MAX_CONTENT_LENGTH, OutgoingEnvelope

DEVICE = UUID(int=1)


def parse(content: str) -> str:
    """Read an envelope with this content from JSON; give the content."""
    document = json.dumps({"device_id": str(DEVICE), "content": content})
    return OutgoingEnvelope.model_validate_json(document).content


@given(st.binary(min_size=1, max_size=200))
def test_every_ciphertext_is_taken(content):
    """Any bytes, encoded without padding, are a content."""
    text = base64.urlsafe_b64encode(content).rstrip(b"=").decode()
    assert parse(text) == text


@given(st.text("ABQgwZ09-_=+/ \n\0é", max_size=12))
def test_only_canonical_base64url_is_taken(text):
    """A text is taken exactly when it is how its bytes are written."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        written = base64.urlsafe_b64encode(content).rstrip(b"=").decode()
        canonical = bool(content) and written == text
    except ValueError:
        canonical = False
    if canonical:
        assert parse(text) == text
    else:
        with pytest.raises(ValidationError):
            parse(text)


def test_the_longest_content_is_the_largest_that_settings_allow():
    """The schema's bound in characters is the settings' upper bound in bytes."""
    assert len(base64.urlsafe_b64encode(bytes(262_144)).rstrip(b"=")) == MAX_CONTENT_LENGTH
