"""Numbers and codes as people type and paste them, at the native routes."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import NUMBER, MakeApp, problem_code
from tests.contract.openapi import ContractClient
from tests.typed import AS_TYPED, unreadable

ReadCode = Callable[[str], str]


@pytest.mark.parametrize("typed", AS_TYPED)
def test_codes_as_typed(
    client: ContractClient, read_code: ReadCode, typed: Callable[[str], str]
) -> None:
    """The right code is right with blanks, dashes, isolates and digits of any script."""
    started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json
    path = f"/v1/verifications/{started['id']}/checks"
    answer = client.post(path, json={"code": typed(read_code(NUMBER))})
    assert (answer.status_code, answer.json["status"]) == (200, "verified")


def test_what_cannot_be_the_code_is_no_guess(client: ContractClient, read_code: ReadCode) -> None:
    """It is refused in a sentence, as often as it comes, and the code stays short and good."""
    started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json
    path = f"/v1/verifications/{started['id']}"
    code = read_code(NUMBER)
    for _ in range(6):
        for text in unreadable(code):
            answer = client.post(f"{path}/checks", json={"code": text})
            assert (answer.status_code, problem_code(answer)) == (422, "code-unreadable")
            assert answer.json["detail"] == (
                "The code has 6 digits; enter all of them. This did not count as a guess."
            )
    assert client.get(path).json["checks_left"] == 5
    again = client.post("/v1/verifications", json={"phone_number": NUMBER}).json
    assert again["code_length"] == 6
    code = read_code(NUMBER)
    answer = client.post(f"/v1/verifications/{again['id']}/checks", json={"code": code})
    assert answer.json["status"] == "verified"


def test_a_verification_that_is_over_says_so_first(
    client: ContractClient, read_code: ReadCode
) -> None:
    """What cannot be the code of a closed or verified verification is told that it is over."""
    started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json
    path = f"/v1/verifications/{started['id']}"
    client.post(f"{path}/checks", json={"code": read_code(NUMBER)})
    answer = client.post(f"{path}/checks", json={"code": "12"})
    assert problem_code(answer) == "verification-closed"


@pytest.mark.parametrize(
    ("number", "region"),
    [
        ("\u202a+49 151 12345678\u202c", None),
        ("+49\u00a0151\u00a012345678", None),
        ("+49151\u00ad12345678\n", None),
        ("\ufeff+4915112345678", None),
        ("4915112345678", "DE"),
        ("4915112345678", "de"),
        ("0049 151 12345678", "US"),
        ("0151 12345678 Mama", "DE"),
        ("+4915112345678", "ZZ"),
        ("+4915112345678", ""),
    ],
)
def test_numbers_as_pasted(client: ContractClient, number: str, region: str | None) -> None:
    """However it was typed, the text goes to the number that was meant."""
    body = {"phone_number": number, "region": region}
    answer = client.post("/v1/verifications", json=body)
    assert (answer.status_code, answer.json["phone_number"]) == (201, "+4915112345678")
    (message,) = client.get("/dev/outbox.json").json["messages"]
    assert message["to"] == "+4915112345678"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"phone_number": ""}, "Enter a phone number."),
        ({"region": "Germany"}, "Name the country by its two letters, such as DE or US."),
        (
            {"web_origin": "http://example.com"},
            "A web origin is https:// and a host name, such as https://example.com, without a path"
            " and without another port.",
        ),
        (
            {"app_hash": "short"},
            "An app hash has 11 characters, as Android's SMS Retriever names them.",
        ),
    ],
)
def test_what_is_refused_is_refused_in_a_sentence(
    client: ContractClient, fields: dict[str, str], sentence: str
) -> None:
    """A person reads what to do; the pointer is for programs."""
    answer = client.post("/v1/verifications", json={"phone_number": NUMBER, **fields})
    assert (problem_code(answer), answer.json["detail"]) == ("invalid-fields", sentence)
    (name,) = fields
    assert answer.json["errors"] == [{"pointer": f"/{name}", "detail": sentence}]


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("", "en"),
        ("C", "en"),
        ("POSIX", "en"),
        ("not a locale", "en"),
        ("en_US.UTF-8", "en"),
        ("zh_TW_#Hant", "zh-Hant"),
        ("de_DE@euro", "de"),
        ("x" * 5_000, "en"),
    ],
)
def test_nobody_is_refused_over_a_locale(
    client: ContractClient, locale: str, language: str
) -> None:
    """Whatever a phone says its language is, a text comes: in it, or in the default one."""
    for wanted in (locale, language):
        body = {"phone_number": NUMBER, "locale": wanted}
        assert client.post("/v1/verifications", json=body).status_code == 201
    texts = client.get("/dev/outbox.json").json["messages"]
    assert len({re.sub(r"\d{6}", "", text["body"]) for text in texts}) == 1


def test_one_origin_however_it_is_written(make_app: MakeApp) -> None:
    """Setting and request mean the same host, in any case, with the default port or without."""
    client = make_app(web_origins=("example.com",)).test_client()
    for origin in ("HTTPS://Example.COM:443/", "https://example.com", "example.com/"):
        body: dict[str, Any] = {"phone_number": NUMBER, "web_origin": origin}
        assert client.post("/v1/verifications", json=body).status_code == 201
        (message, *_) = client.get("/dev/outbox.json").json["messages"]
        assert "\n@example.com #" in message["body"]


def test_test_numbers_as_typed(make_app: MakeApp) -> None:
    """A reviewer's number and code are read as anybody's, in the setting too."""
    client = make_app(test_numbers="\u2068+1 (415) 555-0100\u2069 = 123 456").test_client()
    body = {"phone_number": "\u202a415 555\u00a00100\u202c", "region": "us"}
    started = client.post("/v1/verifications", json=body).json
    assert started["phone_number"] == "+14155550100"
    path = f"/v1/verifications/{started['id']}/checks"
    assert client.post(path, json={"code": "12345"}).json["type"] == "/problems/code-unreadable"
    assert client.post(path, json={"code": "١٢٣-٤٥٦"}).json["status"] == "verified"
    assert client.get("/dev/outbox.json").json == {"messages": []}
