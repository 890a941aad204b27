"""Requests that a homeserver signed (server-server API, "Request Authentication": `X-Matrix`).

Synapse signs for an identity server under `destination_is`; what is signed for a homeserver has
`destination`. Either must name this service, so that a request signed for another one is worth nothing here.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.problems import MalformedRequest
from core.requester import Requester
from interop.matrix.identifiers import ServerName
from interop.matrix.problems import SignedRequestMalformed, SignedRequestRefused
from interop.matrix.server_keys import ED25519, RememberedKeys, verifies
from interop.matrix.signing import canonical_json, decoded

SCHEME = "x-matrix"
#: Signatures of one request that are looked at, one a key of the homeserver.
MAX_SIGNATURES = 4
_CREDENTIALS = re.compile(r"(?:^|,)\s*X-Matrix\s+", re.IGNORECASE)
_PARAMETER = re.compile(r'\s*([a-z]+)\s*=\s*(?:"([^"\\]*)"|([^\s",]+))\s*(?:,|$)', re.IGNORECASE)


@dataclass(frozen=True)
class HomeserverCaller:
    """The homeserver that makes a request."""

    server_name: str


class Signature(NamedTuple):
    """What one `X-Matrix` credential says: who signed for whom, with which key."""

    origin: str
    destination: str | None
    key_id: str
    signature: str

    @classmethod
    def read_all(cls, header: str) -> "list[Signature]":
        """Read the credentials of an Authorization header; raises SignedRequestMalformed."""
        _, *parts = _CREDENTIALS.split(header)
        if not parts or len(parts) > MAX_SIGNATURES:
            raise SignedRequestMalformed("Send X-Matrix with origin, destination, key and sig.")
        found = [cls._read(part) for part in parts]
        if len({signature.origin for signature in found}) > 1:
            raise SignedRequestMalformed("One homeserver signs a request.")
        return found

    @classmethod
    def _read(cls, text: str) -> "Signature":
        values: dict[str, str] = {}
        at = 0
        # One after the other, and not searched for, which a long blank would make slow.
        while match := _PARAMETER.match(text, at):
            values[match[1].lower()] = match[2] if match[2] is not None else match[3]
            at = match.end()
        data = decoded(values.get("sig", ""))
        origin, key_id = values.get("origin", ""), values.get("key", "")
        if (
            ServerName.parse(origin) is None
            or not key_id.startswith(ED25519)
            or data is None
            or len(data) != 64
        ):
            raise SignedRequestMalformed(
                "Send X-Matrix with origin, destination, key (ed25519) and sig (64 bytes as base64)."
            )
        return cls(origin, values.get("destination"), key_id, values["sig"])


class RequestVerifier:
    """Says which homeserver signed a request.

    name: how this service is reached, host and port.
    """

    def __init__(self, name: str, keys: RememberedKeys) -> None:
        self._names = _names_of(name)
        self._keys = keys

    def verify(
        self, header: str, method: str, path: str, body: bytes, requester: Requester
    ) -> HomeserverCaller:
        """Verify the Authorization header of a request with a JSON body.

        Raises SignedRequestMalformed, MalformedRequest, SignedRequestRefused, TooManyHomeserverKeys or
        HomeserverUnavailable.
        """
        signatures = Signature.read_all(header)
        try:
            content: Any = json.loads(body)
            # What cannot be written canonically (NaN, half a character) cannot have been signed.
            canonical_json(content)
        except (ValueError, RecursionError):
            raise MalformedRequest("The body is not valid JSON.") from None
        for signature in signatures:
            if self._is_valid(signature, method, path, content, requester):
                return HomeserverCaller(signature.origin)
        raise SignedRequestRefused("It does not fit this request and a key of the homeserver.")

    def _is_valid(
        self, signature: Signature, method: str, path: str, content: Any, requester: Requester
    ) -> bool:
        destination = signature.destination
        if destination is not None and destination.lower() not in self._names:
            raise SignedRequestRefused(
                "It is signed for another identity server; this one goes by its public address."
            )
        key = self._keys.find(signature.origin, signature.key_id, requester)
        if key is None:
            return False
        signed = {"method": method, "uri": path, "origin": signature.origin, "content": content}
        names = self._names if destination is None else [destination]
        return any(
            verifies(key, canonical_json(signed | {member: name}), signature.signature)
            for name in names
            for member in ("destination_is", "destination")
        )


def _names_of(name: str) -> list[str]:
    """Name this service as homeservers may: HTTPS's port can be named or left out."""
    host, _, port = name.lower().rpartition(":")
    if port == "443":
        return [name.lower(), host]
    return [name.lower()] if port.isdigit() else [name.lower(), f"{name.lower()}:443"]
