"""Commands for operators of the directory."""

from typing import Any

import pytest
from flask_openapi3 import OpenAPI

from tests.conftest import NUMBER, MakeApp


def run(app: OpenAPI, *words: str) -> Any:
    """Run `flask discovery …`."""
    return app.test_cli_runner().invoke(args=["discovery", *words])


@pytest.mark.slow
def test_rotate_switches_and_says_until_when_the_old_epoch_answers(app: OpenAPI) -> None:
    """It prints both epochs; run again it rotates again."""
    service = app.extensions["kith"].discovery.service
    first, _ = service.parameters()
    done = run(app, "rotate")
    assert done.exit_code == 0, done.output
    current, previous = service.parameters()
    assert (current.number, previous) == (2, previous)
    assert previous.id == first.id
    assert f"Epoch {current.id} answers." in done.output
    assert f"Epoch {first.id} answers until 2026-03-08 12:00 UTC." in done.output
    assert run(app, "rotate").exit_code == 0
    assert service.parameters()[0].number == 3
    listed = run(app, "epochs").output.splitlines()
    assert [line.split()[:2] for line in listed][:2] == [[first.id, "open"], [current.id, "open"]]


def test_rebuild_makes_a_snapshot_that_is_taken_over(app: OpenAPI) -> None:
    """Each run makes another file."""
    kith = app.extensions["kith"]
    epoch, _ = kith.discovery.service.parameters()
    for _ in range(2):
        done = run(app, "rebuild")
        assert done.exit_code == 0, done.output
        assert kith.discovery.directory.adopt(epoch)


def test_a_number_is_given_a_tier_and_keeps_what_it_spent(make_app: MakeApp) -> None:
    """It is shown, changed and changed back, whether the number has an account or not."""
    app = make_app(discovery_tiers=("partner:20000:500",))
    assert run(app, "budget", NUMBER).output == "2500 of 2500 left, 50 more a day.\n"
    given = run(app, "budget", NUMBER, "--tier", "partner")
    assert given.output == "20000 of 20000 left, 500 more a day.\n"
    assert run(app, "budget", NUMBER).output == given.output
    back = run(app, "budget", NUMBER, "--tier", "default")
    assert back.output == "2500 of 2500 left, 50 more a day.\n"


@pytest.mark.parametrize(
    "typed", ["0151 12345678", "\u2068+49 151 12345678\u2069", "4915112345678"]
)
def test_numbers_as_an_operator_types_them(make_app: MakeApp, typed: str) -> None:
    """A command reads a number as the API does, with the region of the settings."""
    app = make_app(discovery_tiers=("partner:20000:500",), default_region="de")
    run(app, "budget", NUMBER, "--tier", "partner")
    assert run(app, "budget", typed).output == "20000 of 20000 left, 500 more a day.\n"


def test_a_test_number_has_a_budget_too(make_app: MakeApp) -> None:
    """Though no such number can exist."""
    app = make_app(test_numbers="+14155550100=123456")
    assert run(app, "budget", "+1 415 555-0100").output == "2500 of 2500 left, 50 more a day.\n"


@pytest.mark.parametrize("words", [("budget", "12"), ("budget", NUMBER, "--tier", "gold")])
def test_what_is_not_there_is_said(app: OpenAPI, words: tuple[str, ...]) -> None:
    """A number that is none and a tier that is none end with a usage error."""
    done = run(app, *words)
    assert done.exit_code == 2
    assert "Error: " in done.output
