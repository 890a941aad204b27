"""Binary on the wire: base64url without padding (RFC 4648 section 5), in one spelling only."""

import base64
import binascii


def encode(data: bytes) -> str:
    """Write bytes as base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str, size: int) -> bytes | None:
    """Read exactly `size` bytes of canonical base64url without padding; None for anything else."""
    if len(text) != -(-size * 4 // 3) or not text.isascii():
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    # The last character has spare bits; only one spelling is taken.
    return data if encode(data) == text else None
