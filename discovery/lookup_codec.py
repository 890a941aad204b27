"""The two forms of a lookup on the wire: JSON and binary, read into vectors and written from them.

Owns their parsing and rendering, without a loop over the contacts. Refuses hashes of the wrong length
by their index.
"""

from typing import NamedTuple

import numpy as np
from flask import Response, request

from core.api import parse_body, read_body
from core.problems import InvalidFields
from discovery.budget import Balance
from discovery.hashes import DIGEST_SIZE, HASH_LENGTH, DigestSet, decode_hashes, encode_hashes
from discovery.replica import Matches
from discovery.schemas import (
    HASHES_TYPE,
    MATCHES_TYPE,
    TOKEN_HEADER,
    BinaryLookup,
    BudgetAnswer,
    Lookup,
)

#: One match of a JSON answer. The hash and the id take the place of the letters.
_ENTRY = np.frombuffer(
    f'"{"h" * HASH_LENGTH}":"{"-".join("i" * n for n in (8, 4, 4, 4, 12))}",'.encode(), np.uint8
)
_HASH_AT = np.flatnonzero(ord("h") == _ENTRY)
_ID_AT = np.flatnonzero(ord("i") == _ENTRY)
_MATCH = np.dtype([("place", "<u4"), ("account", "V16")])


class LookupRequest(NamedTuple):
    """A lookup as it was asked: digests one after the other, whatever form they came in."""

    epoch_id: str
    known: bytes
    hashes: bytes
    sync_token: str | None
    in_binary: bool


class LookupResult(NamedTuple):
    """What a lookup gave: of which set of hashes, what was found, and what it cost."""

    page: DigestSet
    found: Matches
    sync_token: str
    left: Balance


def read_lookup(query: BinaryLookup) -> LookupRequest:
    """Read the request's body in the form that its Content-Type names."""
    if request.mimetype == HASHES_TYPE:
        return _read_binary(query)
    if query.model_fields_set:
        name = min(query.model_fields_set)
        raise InvalidFields.at(f"?/{name}", f"goes with a body of {HASHES_TYPE} only")
    body = parse_body(Lookup)
    return LookupRequest(
        body.epoch, decode_hashes(body.known), decode_hashes(body.hashes), body.sync_token, False
    )


def _read_binary(query: BinaryLookup) -> LookupRequest:
    if query.epoch is None:
        raise InvalidFields.at("?/epoch", "is needed with hashes in binary")
    body = read_body()
    count, rest = divmod(len(body), DIGEST_SIZE)
    if rest:
        raise InvalidFields.at(f"/hashes/{count}", f"has {rest} bytes, a hash has {DIGEST_SIZE}")
    if query.known > count:
        raise InvalidFields.at("?/known", f"more than the {count} hashes that came")
    split = query.known * DIGEST_SIZE
    return LookupRequest(query.epoch, body[:split], body[split:], query.sync_token, True)


def render_lookup(answered: LookupResult, *, in_binary: bool) -> Response:
    """Write an answer in the form that was asked in."""
    if in_binary:
        response = Response(_matches_binary(answered), mimetype=MATCHES_TYPE)
        response.headers[TOKEN_HEADER] = answered.sync_token
    else:
        budget = BudgetAnswer(**answered.left._asdict()).model_dump_json()
        rest = f'"sync_token":"{answered.sync_token}","budget":{budget}}}'
        body = b'{"matches":{' + _matches_json(answered) + b"}," + rest.encode()
        response = Response(body, mimetype="application/json")
    response.headers.update(answered.left.rate_limit_status().headers())
    return response


def _matches_json(answered: LookupResult) -> bytes:
    here = answered.found.here
    entries = np.tile(_ENTRY, (int(here.sum()), 1))
    entries[:, _HASH_AT] = encode_hashes(answered.page.digests[here])
    ids = answered.found.accounts[here].tobytes().hex().encode()
    entries[:, _ID_AT] = np.frombuffer(ids, np.uint8).reshape(-1, len(_ID_AT))
    return entries.tobytes()[:-1]


def _matches_binary(answered: LookupResult) -> bytes:
    here = answered.found.here
    places = answered.page.places[here]
    order = np.argsort(places)
    matches = np.empty(len(places), _MATCH)
    matches["place"] = places[order]
    matches["account"] = answered.found.accounts[here][order].view("V16")[:, 0]
    return matches.tobytes()
