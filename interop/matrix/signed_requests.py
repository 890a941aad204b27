"""Requests signed by homeservers (server-server API, "Request Authentication": `X-Matrix`).

Synapse names an identity server as `destination_is`, and a homeserver as `destination`. Either must name this
service, so that a request signed for another one is not accepted here.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.problems import MalformedRequest
from core.requester import Requester
from interop.matrix.identifiers import ServerName
from interop.matrix.problems import SignedRequestMalformed, SignedRequestRefused
from interop.matrix.server_keys import ED25519, ServerKeyCache, verifies
from interop.matrix.signing import canonical_json, decode_base64

SCHEME = "x-matrix"
#: Per request, one for each key of the homeserver.
MAX_SIGNATURES = 4
_CREDENTIALS = re.compile(r"(?:^|,)\s*X-Matrix\s+", re.IGNORECASE)
_PARAMETER = re.compile(r'\s*([a-z]+)\s*=\s*(?:"([^"\\]*)"|([^\s",]+))\s*(?:,|$)', re.IGNORECASE)


@dataclass(frozen=True)
class HomeserverCaller:
    """The homeserver that makes a request."""

    server_name: str


class Signature(NamedTuple):
    """One `X-Matrix` credential: who signed for whom, with which key."""

    origin: str
    destination: str | None
    key_id: str
    signature: str

    @classmethod
    def parse_all(cls, header: str) -> "list[Signature]":
        """Parse the credentials of an Authorization header; raises SignedRequestMalformed."""
        _, *parts = _CREDENTIALS.split(header)
        if not parts or len(parts) > MAX_SIGNATURES:
            raise SignedRequestMalformed("Send X-Matrix with origin, destination, key and sig.")
        found = [cls._parse(part) for part in parts]
        if len({signature.origin for signature in found}) > 1:
            raise SignedRequestMalformed("A request is signed by one homeserver.")
        return found

    @classmethod
    def _parse(cls, text: str) -> "Signature":
        values: dict[str, str] = {}
        at = 0
        # Matched one after the other; a search would be slow on many spaces.
        while match := _PARAMETER.match(text, at):
            values[match[1].lower()] = match[2] if match[2] is not None else match[3]
            at = match.end()
        data = decode_base64(values.get("sig", ""))
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
    """Verifies which homeserver signed a request.

    name: host and port of this service.
    """

    def __init__(self, name: str, keys: ServerKeyCache) -> None:
        self._names = _names_of(name)
        self._keys = keys

    def verify(
        self, header: str, method: str, path: str, body: bytes, requester: Requester
    ) -> HomeserverCaller:
        """Verify the Authorization header of a request with a JSON body; return the homeserver.

        Raises SignedRequestMalformed, MalformedRequest, SignedRequestRefused, TooManyHomeserverKeys or
        HomeserverUnavailable.
        """
        signatures = Signature.parse_all(header)
        try:
            content: Any = json.loads(body)
            # What has no canonical form (NaN, a lone surrogate) cannot have been signed.
            canonical_json(content)
        except (ValueError, RecursionError):
            raise MalformedRequest("The body is not valid JSON.") from None
        for signature in signatures:
            if self._is_valid(signature, method, path, content, requester):
                return HomeserverCaller(signature.origin)
        raise SignedRequestRefused("It does not match this request and a key of the homeserver.")

    def _is_valid(
        self, signature: Signature, method: str, path: str, content: Any, requester: Requester
    ) -> bool:
        destination = signature.destination
        if destination is not None and destination.lower() not in self._names:
            raise SignedRequestRefused(
                "It is signed for another identity server; this one is named by its public address."
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
    """Return the names that homeservers may use: with HTTPS's port or without."""
    host, _, port = name.lower().rpartition(":")
    if port == "443":
        return [name.lower(), host]
    return [name.lower()] if port.isdigit() else [name.lower(), f"{name.lower()}:443"]
