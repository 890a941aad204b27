"""Routes of discovery."""

from flask import current_app

from core.api import Api
from discovery.problems import EpochUnknown
from discovery.schemas import Lookup, LookupAnswer, ParametersAnswer
from discovery.service import DirectoryService
from tokens.authenticate import authenticate_device
from tokens.routes import AUTHENTICATION

discovery_api = Api(
    "discovery",
    __name__,
    description="Who of my contacts is here",
    authenticate=authenticate_device,
    problems=AUTHENTICATION,
)


def _directory() -> DirectoryService:
    service: DirectoryService = current_app.extensions["kith"].directory
    return service


@discovery_api.operation("GET", "/discovery/parameters", answer=ParametersAnswer)
def get_discovery_parameters() -> ParametersAnswer:
    """Show how to hash numbers now."""
    service = _directory()
    epoch = service.parameters()
    return ParametersAnswer(
        epoch=epoch.id,
        salt=epoch.salt,
        max_hashes=service.max_hashes,
        expires_at=epoch.expires_at,
    )


@discovery_api.operation(
    "POST", "/discovery/lookups", answer=LookupAnswer, problems=(EpochUnknown,)
)
def look_up_hashes(body: Lookup) -> LookupAnswer:
    """Find the accounts of a page of hashed numbers."""
    return LookupAnswer(matches=_directory().look_up(body.epoch, body.hashes))
