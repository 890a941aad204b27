"""The jobs that are measured, as scripts for the load generator."""

import base64
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator

from bench.load import Answer, Recorder, Request, Script, request
from verification.codes import derive

#: A page of a lookup, and how many of its hashes are accounts.
PAGE, HITS = 1_000, 100
PAGES = 50
#: Where the numbers begin of those who register, those who are in the directory and those who are
#: not, so that none is two of them.
NEWCOMERS, LISTED, ABSENT, END = 0, 1_000_000, 5_000_000, 10_000_000


def expect(answer: Answer, status: int) -> Answer:
    """Stop the measurement when an answer is not what is being measured."""
    if answer.status != status:
        raise RuntimeError(f"wanted {status}, got {answer.status}: {answer.body[:500]!r}")
    return answer


def repeat(label: str, data: bytes, status: int = 200) -> Script:
    """Send the same request again and again."""
    same = Request(label, data)
    while True:
        expect((yield same), status)


def digits(n: int) -> str:
    """Give one of ten million valid numbers, without its plus."""
    return f"491511{n:07d}"


def newcomers() -> Iterator[str]:
    """Give the numbers of people who register, each once."""
    for n in range(NEWCOMERS, LISTED):
        yield "+" + digits(n)


def journeys(
    recorder: Recorder, numbers: Iterator[str], code_key: bytes, keep: Callable[[str], None]
) -> Script:
    """Start, check and register for one number after the other.

    The code is derived here with the server's own key: reading it from the outbox would be a fourth
    request, or a second reader of the database, in the middle of what is measured.
    """
    for number in numbers:
        begun = time.perf_counter()
        body = b'{"phone_number":"%s"}' % number.encode()
        answer = yield Request("start", request("POST", "/v1/verifications", body))
        verification = json.loads(expect(answer, 201).body)["id"]
        raw = base64.urlsafe_b64decode(verification + "=")
        body = b'{"code":"%s"}' % derive(code_key, raw, 6).encode()
        path = f"/v1/verifications/{verification}/checks"
        expect((yield Request("check", request("POST", path, body))), 200)
        body = b'{"verification_id":"%s","device":{"name":"bench"}}' % verification.encode()
        answer = yield Request("register", request("POST", "/v1/registrations", body))
        recorder.add("journey", time.perf_counter() - begun)
        keep(json.loads(expect(answer, 201).body)["device_token"])


def accounts(tokens: list[str]) -> Script:
    """Ask for the own account, as each device in turn."""
    prepared = [
        Request("account", request("GET", "/v1/account", headers=(f"Authorization: Bearer {t}",)))
        for t in tokens
    ]
    while True:
        for asked in prepared:
            expect((yield asked), 200)


def lookups(token: str, epoch: str, salt: str, population: int, seed: int) -> Script:
    """Look up pages of 1,000 hashes of which 100 are accounts, another page each time."""
    chance = random.Random(seed)
    pages = []
    for _ in range(PAGES):
        here = chance.sample(range(LISTED, LISTED + population), min(HITS, population))
        away = chance.sample(range(ABSENT, END), PAGE - len(here))
        hashes = [encoded(digest(n, salt)) for n in here + away]
        chance.shuffle(hashes)
        body = json.dumps({"epoch": epoch, "hashes": hashes}, separators=(",", ":")).encode()
        headers = (f"Authorization: Bearer {token}",)
        pages.append(Request("lookup", request("POST", "/v1/discovery/lookups", body, headers)))
    while True:
        for page in pages:
            expect((yield page), 200)


def digest(n: int, salt: str) -> bytes:
    """Hash a number as a client does."""
    return hashlib.sha256(f"{digits(n)} msisdn {salt}".encode()).digest()


def encoded(hashed: bytes) -> str:
    """Write a hash as a client does."""
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
