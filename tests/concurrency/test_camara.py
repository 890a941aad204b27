"""The CAMARA adapter under requests that really run side by side, on both databases."""

from collections import Counter

from sqlalchemy import select

from core.database import table
from tests.camara import OWN, Service, error, other_than
from tests.concurrency.test_verification import together
from tests.conftest import MakeApp
from verification.models import Verification


def test_sixty_parallel_validations_judge_exactly_three(make_app: MakeApp) -> None:
    """Of 60 wrong codes at once exactly 3 are evaluated, the last of which fails the verification."""
    app = make_app(camara_checks=3)
    service = Service(app)
    identity, wrong = service.sent(), other_than(service.code())
    answers = together(60, lambda _: error(service.validate(identity, wrong)))
    assert Counter(answers) == {
        (400, f"{OWN}INVALID_OTP"): 2,
        (400, f"{OWN}VERIFICATION_FAILED"): 58,
    }
    kith = app.extensions["kith"]
    counted = kith.runtime.metrics.registry.get_sample_value
    assert counted("kith_verifications_total", {"step": "code_rejected"}) == 3
    with kith.runtime.database.read() as connection:
        assert connection.scalar(select(table(Verification).c.checks_used)) == 3


def test_a_right_code_is_right_once(make_app: MakeApp) -> None:
    """Of 20 right codes at once one is told so."""
    service = Service(make_app())
    identity, code = service.sent(), service.code()
    answers = together(20, lambda _: service.validate(identity, code).status_code)
    assert Counter(answers) == {204: 1, 400: 19}


def test_parallel_sends_keep_to_the_limit(make_app: MakeApp) -> None:
    """Of 20 sends at once the 3 are made that a day holds."""
    app = make_app(camara_sends_per_day=3)
    service = Service(app)
    answers = together(20, lambda _: service.send())
    refused = [error(answer) for answer in answers if answer.status_code != 200]
    assert refused == [(403, f"{OWN}MAX_OTP_CODES_EXCEEDED")] * 17
    assert len(app.extensions["kith"].sms.providers["outbox"].read(None)) == 3
