"""Routes of discovery."""

from functools import partial

from flask import Response, current_app, g

from core.api import DEVICE_TOKEN, Api, service_token
from discovery.budget_owners import id_of
from discovery.lookup_codec import read_lookup, render_lookup
from discovery.problems import BudgetExhausted, BudgetTooSmall, EpochUnknown
from discovery.schemas import (
    BINARY_BODY,
    BinaryLookup,
    BudgetAnswer,
    Lookup,
    LookupAnswer,
    ParametersAnswer,
    PreviousEpochAnswer,
)
from discovery.service import DiscoveryService
from tokens.authenticate import Caller, ServiceCaller, authenticate_device_or_service
from tokens.problems import ScopeMissing, ServiceTokenExpired, ServiceTokenInvalid
from tokens.routes import AUTHENTICATION
from tokens.service_tokens import DISCOVERY

discovery_api = Api(
    "discovery",
    __name__,
    description="Who of my contacts is here",
    authenticate=partial(authenticate_device_or_service, DISCOVERY),
    security=(DEVICE_TOKEN, service_token(DISCOVERY)),
    problems=(*AUTHENTICATION, ServiceTokenInvalid, ServiceTokenExpired, ScopeMissing),
)


def _directory() -> DiscoveryService:
    service: DiscoveryService = current_app.extensions["kith"].discovery.directory
    return service


@discovery_api.operation("GET", "/discovery/parameters", answer=ParametersAnswer)
def get_discovery_parameters(caller: Caller | ServiceCaller) -> ParametersAnswer:
    """Show how to hash numbers now, and what the caller's budget holds."""
    service = _directory()
    epoch, previous = service.parameters()
    return ParametersAnswer(
        epoch=epoch.id,
        salt=epoch.salt,
        max_hashes=service.max_hashes,
        expires_at=epoch.expires_at,
        previous=previous
        and PreviousEpochAnswer.model_validate(
            {"epoch": previous.id, "salt": previous.salt, "expires_at": previous.expires_at}
        ),
        budget=BudgetAnswer(**service.budget(caller)._asdict()),
        asker=str(id_of(caller)),
    )


@discovery_api.operation(
    "POST",
    "/discovery/lookups",
    answer=LookupAnswer,
    reads=Lookup,
    reads_also=BINARY_BODY,
    problems=(EpochUnknown, BudgetExhausted, BudgetTooSmall),
)
def look_up_hashes(query: BinaryLookup, caller: Caller | ServiceCaller) -> Response:
    """Find the accounts of a page of hashed numbers, as JSON or in binary as the page came."""
    asked = read_lookup(query)
    answered = _directory().look_up(asked, caller, g.requester)
    return render_lookup(answered, in_binary=asked.in_binary)
