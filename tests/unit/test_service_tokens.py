"""Service tokens: issued, read, expired, revoked, listed, and never stored."""

import re
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.budgets import Budget
from core.database import Database
from tests.conftest import Clock
from tokens.problems import ServiceTokenExpired, ServiceTokenInvalid
from tokens.service_tokens import (
    DISCOVERY,
    MAX_LIFETIME,
    SCOPES,
    SEND_AND_VALIDATE,
    SERVICE_PREFIX,
    USED_RESOLUTION,
    ServiceTokenService,
)
from tokens.token_issuer import Credential

DAY = timedelta(days=1)
BUDGET = Budget(20_000, 500)


class Counting:
    """Bytes that are all different."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, size: int) -> bytes:
        """Give the next."""
        self.asked += 1
        return self.asked.to_bytes(size, "big")


@pytest.fixture
def service(database: Database, clock: Clock) -> ServiceTokenService:
    """The service on an empty database."""
    return ServiceTokenService(database, clock, Counting())


def issue(service: ServiceTokenService, name: str = "shop", life: timedelta = DAY) -> str:
    """Issue a token for everything there is."""
    return service.issue(name, SCOPES, life, BUDGET)[0]


@given(st.uuids(), st.binary(min_size=32, max_size=32))
def test_a_token_has_one_form(token_id: UUID, secret: bytes) -> None:
    """It is read as it was written, and has the form that is documented."""
    token = Credential((token_id,), secret).format(SERVICE_PREFIX)
    assert re.fullmatch(r"kithsvc_[A-Za-z0-9_-]{70}", token)
    assert Credential.parse(SERVICE_PREFIX, 1, token) == Credential((token_id,), secret)


def test_it_says_whose_it_is(service: ServiceTokenService) -> None:
    """Id, name and scopes are those it was issued with."""
    token, issued = service.issue("shop", [SEND_AND_VALIDATE, SEND_AND_VALIDATE], DAY)
    caller = service.authenticate(token)
    assert (caller.id, caller.name, caller.scopes) == (issued.id, "shop", {SEND_AND_VALIDATE})


@pytest.mark.parametrize(
    ("name", "scopes", "life"),
    [
        ("", SCOPES, DAY),
        ("a b", SCOPES, DAY),
        ("-shop", SCOPES, DAY),
        ("shop\n", SCOPES, DAY),
        ("s" * 65, SCOPES, DAY),
        ("shop", [], DAY),
        ("shop", ["everything"], DAY),
        ("shop", [*SCOPES, "everything"], DAY),
        ("shop", SCOPES, timedelta(0)),
        ("shop", SCOPES, MAX_LIFETIME + timedelta(seconds=1)),
    ],
)
def test_what_cannot_be_is_not_issued(
    service: ServiceTokenService, name: str, scopes: list[str], life: timedelta
) -> None:
    """Names, scopes and lives are bounded, and nothing is left of a refused one."""
    with pytest.raises(ValueError, match=r"\w"):
        service.issue(name, scopes, life, BUDGET)
    assert service.all() == []


@pytest.mark.parametrize(
    ("scopes", "budget"), [([DISCOVERY], None), (SCOPES, None), ([SEND_AND_VALIDATE], BUDGET)]
)
def test_a_budget_goes_with_its_scope(
    service: ServiceTokenService, scopes: list[str], budget: Budget | None
) -> None:
    """There are no lookups without a budget, and no budget without them."""
    with pytest.raises(ValueError, match="budget"):
        service.issue("shop", scopes, DAY, budget)
    assert service.all() == []


def test_it_says_what_its_budget_is(service: ServiceTokenService) -> None:
    """Each token of a service has its own; one for something else has none."""
    for scope, budget in (
        (DISCOVERY, BUDGET),
        (DISCOVERY, Budget(5, 1)),
        (SEND_AND_VALIDATE, None),
    ):
        token, _ = service.issue("shop", [scope], DAY, budget)
        assert service.authenticate(token).budget == budget


def test_the_bounds_themselves_are_issued(service: ServiceTokenService) -> None:
    """The longest name and life, and the shortest name, are good."""
    assert service.authenticate(issue(service, "s" * 64, MAX_LIFETIME)).name == "s" * 64
    assert service.authenticate(issue(service, "1")).name == "1"


def test_until_its_time_is_over(service: ServiceTokenService, clock: Clock) -> None:
    """It is good to the last moment and not a moment longer."""
    token = issue(service)
    clock.advance(days=1, microseconds=-1)
    service.authenticate(token)
    clock.advance(microseconds=1)
    with pytest.raises(ServiceTokenExpired):
        service.authenticate(token)
    assert [service.state(row) for row in service.all()] == ["expired"]


def test_until_it_is_revoked(service: ServiceTokenService, clock: Clock) -> None:
    """Revoking one leaves the others of its service, and can be repeated."""
    first, second = issue(service), issue(service)
    (row, _) = service.all()
    assert service.revoke(row.id)
    clock.advance(60)
    assert service.revoke(row.id)
    with pytest.raises(ServiceTokenInvalid, match="revoked"):
        service.authenticate(first)
    assert service.authenticate(second).name == "shop"
    assert [service.state(row) for row in service.all()] == ["revoked", "valid"]
    assert service.all()[0].revoked_at == clock.now - timedelta(seconds=60)
    assert not service.revoke(UUID(int=1))


def test_another_secret_is_refused(service: ServiceTokenService) -> None:
    """The id of a token is no secret; without its own it is worth nothing."""
    issue(service)
    (row,) = service.all()
    forged = Credential((row.id,), b"f" * 32).format(SERVICE_PREFIX)
    unknown = Credential((UUID(int=1),), b"f" * 32).format(SERVICE_PREFIX)
    for token in (forged, unknown, forged[:-1], "kithsvc_", ""):
        with pytest.raises(ServiceTokenInvalid):
            service.authenticate(token)


def test_when_it_was_used_is_written_now_and_then(
    service: ServiceTokenService, clock: Clock
) -> None:
    """The first use is noted, and after that one an hour."""
    token, start = issue(service), clock.now
    assert service.all()[0].last_used_at is None
    service.authenticate(token)
    clock.advance(USED_RESOLUTION.total_seconds() - 1)
    service.authenticate(token)
    assert service.all()[0].last_used_at == start
    clock.advance(1)
    service.authenticate(token)
    assert service.all()[0].last_used_at == start + USED_RESOLUTION


def test_no_secret_is_stored(service: ServiceTokenService) -> None:
    """Of the secret only its hash is in the row."""
    token = issue(service)
    credential = Credential.parse(SERVICE_PREFIX, 1, token)
    assert credential is not None
    (row,) = service.all()
    assert row.token_hash == credential.secret_hash
    assert credential.secret.hex() not in repr(row)
    assert repr(credential.secret) not in repr(row)
