"""Routes of discovery, and the two forms of a lookup: JSON and binary.

Both forms are read into vectors and written from them, without a loop over the contacts.
"""

from functools import partial

import numpy as np
from flask import Response, g, request

from core.api import DEVICE_TOKEN, Api, service_token
from core.parsing import parse_body, read_body
from core.problems import InvalidFields
from discovery.budget_owners import id_of
from discovery.digests import DIGEST_SIZE, HASH_LENGTH, decode_hashes, encode_hashes
from discovery.problems import BudgetExhausted, BudgetTooSmall, EpochUnknown
from discovery.schemas import (
    BINARY_BODY,
    HASHES_TYPE,
    MATCHES_TYPE,
    TOKEN_HEADER,
    BinaryLookup,
    BudgetAnswer,
    Lookup,
    LookupAnswer,
    ParametersAnswer,
    PreviousEpochAnswer,
)
from discovery.service import DiscoveryService, LookupRequest, LookupResult
from tokens.authenticate import Authenticator, Caller, ServiceCaller
from tokens.problems import ScopeMissing, ServiceTokenExpired, ServiceTokenInvalid
from tokens.routes import AUTHENTICATION
from tokens.service_tokens import DISCOVERY

#: One match of a JSON answer; the hash and the id replace the letters.
_ENTRY = np.frombuffer(
    f'"{"h" * HASH_LENGTH}":"{"-".join("i" * n for n in (8, 4, 4, 4, 12))}",'.encode(), np.uint8
)
_HASH_AT = np.flatnonzero(ord("h") == _ENTRY)
_ID_AT = np.flatnonzero(ord("i") == _ENTRY)
_MATCH = np.dtype([("position", "<u4"), ("account", "V16")])


def discovery_api(authenticator: Authenticator, discovery: DiscoveryService) -> Api:
    """Build the routes of discovery."""
    api = Api(
        "discovery",
        __name__,
        description="Who of my contacts is here",
        authenticate=partial(authenticator.device_or_service, DISCOVERY),
        security=(DEVICE_TOKEN, service_token(DISCOVERY)),
        problems=(*AUTHENTICATION, ServiceTokenInvalid, ServiceTokenExpired, ScopeMissing),
    )

    @api.operation("GET", "/discovery/parameters", answer=ParametersAnswer)
    def get_discovery_parameters(caller: Caller | ServiceCaller) -> ParametersAnswer:
        """Show how to hash numbers now, and what the caller's budget holds."""
        epoch, previous = discovery.parameters()
        return ParametersAnswer(
            epoch=epoch.id,
            salt=epoch.salt,
            max_hashes=discovery.max_hashes,
            expires_at=epoch.expires_at,
            previous=previous
            and PreviousEpochAnswer.model_validate(
                {"epoch": previous.id, "salt": previous.salt, "expires_at": previous.expires_at}
            ),
            budget=BudgetAnswer(**discovery.balance(caller)._asdict()),
            budget_owner=str(id_of(caller)),
        )

    @api.operation(
        "POST",
        "/discovery/lookups",
        answer=LookupAnswer,
        reads=Lookup,
        reads_also=BINARY_BODY,
        problems=(EpochUnknown, BudgetExhausted, BudgetTooSmall),
    )
    def look_up_hashes(query: BinaryLookup, caller: Caller | ServiceCaller) -> Response:
        """Find the accounts of hashed numbers. The answer has the form of the request: JSON or binary."""
        in_binary = request.mimetype == HASHES_TYPE
        lookup = _read_binary(query) if in_binary else _read_json(query)
        result = discovery.look_up(lookup, caller, g.requester)
        response = _render_binary(result) if in_binary else _render_json(result)
        response.headers.update(result.balance.rate_limit_status().headers())
        return response

    return api


def _read_json(query: BinaryLookup) -> LookupRequest:
    if query.model_fields_set:
        name = min(query.model_fields_set)
        raise InvalidFields.at(f"?/{name}", f"goes with a body of {HASHES_TYPE} only")
    body = parse_body(Lookup)
    return LookupRequest(
        body.epoch, decode_hashes(body.known), decode_hashes(body.hashes), body.sync_token
    )


def _read_binary(query: BinaryLookup) -> LookupRequest:
    if query.epoch is None:
        raise InvalidFields.at("?/epoch", "is required with binary hashes")
    body = read_body()
    count, rest = divmod(len(body), DIGEST_SIZE)
    if rest:
        raise InvalidFields.at(f"/hashes/{count}", f"has {rest} bytes, a hash has {DIGEST_SIZE}")
    if query.known > count:
        raise InvalidFields.at("?/known", f"is more than the {count} hashes of the body")
    split = query.known * DIGEST_SIZE
    return LookupRequest(query.epoch, body[:split], body[split:], query.sync_token)


def _render_json(result: LookupResult) -> Response:
    mask = result.matches.mask
    entries = np.tile(_ENTRY, (int(mask.sum()), 1))
    entries[:, _HASH_AT] = encode_hashes(result.digests.digests[mask])
    ids = result.matches.accounts[mask].tobytes().hex().encode()
    entries[:, _ID_AT] = np.frombuffer(ids, np.uint8).reshape(-1, len(_ID_AT))
    budget = BudgetAnswer(**result.balance._asdict()).model_dump_json()
    rest = f'"sync_token":"{result.sync_token}","budget":{budget}}}'
    body = b'{"matches":{' + entries.tobytes()[:-1] + b"}," + rest.encode()
    return Response(body, mimetype="application/json")


def _render_binary(result: LookupResult) -> Response:
    mask = result.matches.mask
    positions = result.digests.positions[mask]
    order = np.argsort(positions)
    matches = np.empty(len(positions), _MATCH)
    matches["position"] = positions[order]
    matches["account"] = result.matches.accounts[mask][order].view("V16")[:, 0]
    response = Response(matches.tobytes(), mimetype=MATCHES_TYPE)
    response.headers[TOKEN_HEADER] = result.sync_token
    return response
