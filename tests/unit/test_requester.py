"""Who is asking: the peer's address, or what proxies that the settings name say about it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.requester import Requester, RequesterResolver
from tests.conftest import NUMBER, MakeApp, problem_code

PROXIES = ("10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1/32")
CLIENT, PROXY = "203.0.113.7", "10.1.2.3"


def network(peer: str | None, forwarded_for: str | None = None) -> str:
    """Ask who is asking behind the proxies above."""
    return RequesterResolver(PROXIES).resolve(peer, forwarded_for).network


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (CLIENT, "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:7:8:9:a:b:c", "2001:db8:7::/48"),
        (None, "local"),
    ],
)
def test_the_network_around_it(peer: str | None, expected: str) -> None:
    """Around an IPv4 address lies its /24, around an IPv6 /64 its /48."""
    assert RequesterResolver(PROXIES).resolve(peer, None).subnet == expected


def test_a_service_has_no_network_around_it() -> None:
    """A service is known by its name, and never takes an address for one."""
    assert Requester.service("shop") == ("service:shop", None)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        (CLIENT, None, CLIENT),
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"198.51.100.1, {CLIENT}", CLIENT),
        (PROXY, f"198.51.100.1,{CLIENT} , 10.9.9.9, 10.8.8.8", CLIENT),
        (PROXY, "10.9.9.9, 10.8.8.8", "10.9.9.9"),
        (PROXY, None, PROXY),
        (PROXY, "", PROXY),
        (PROXY, " , ,", PROXY),
        ("2001:db8:1::5", CLIENT, CLIENT),
        ("::ffff:10.1.2.3", CLIENT, CLIENT),
        (PROXY, f"::ffff:{CLIENT}", CLIENT),
    ],
)
def test_behind_trusted_proxies(peer: str, forwarded_for: str | None, expected: str) -> None:
    """The first address from the right that no trusted proxy has is the client's."""
    assert network(peer, forwarded_for) == expected


@pytest.mark.parametrize("claim", ["198.51.100.1", "10.0.0.1", "127.0.0.1", f"1.1.1.1, {PROXY}"])
def test_a_stranger_is_not_believed(claim: str) -> None:
    """Whoever connects without a trusted proxy is who she is, whatever header she sends."""
    assert network(CLIENT, claim) == CLIENT


def test_nobody_is_trusted_by_default() -> None:
    """Without the setting the header is nothing, also from this host."""
    assert RequesterResolver(()).resolve("127.0.0.1", CLIENT).network == "127.0.0.1"


def test_trust_ends_at_the_first_stranger() -> None:
    """A proxy's address further left is the client's own invention."""
    assert network(PROXY, f"1.1.1.1, 10.7.7.7, {CLIENT}, 10.8.8.8") == CLIENT


@pytest.mark.parametrize(
    "garbage",
    [
        "unknown",
        "_hidden",
        "_hidden:_port",
        "unknown:80",
        "999.1.1.1",
        "1.2.3",
        "\x00",
        "é",
        "::g",
        '"',
    ],
)
def test_garbage_is_nobodys(garbage: str) -> None:
    """What is no address ends the walk: it is never the proxy that wrote it, nor who is left of it."""
    assert network(PROXY, f"198.51.100.1, {garbage}") == "unknown"
    assert network(PROXY, f"198.51.100.1, {garbage}, 10.8.8.8") == "unknown"
    assert network(PROXY, f"{garbage}, {CLIENT}") == CLIENT
    assert network(CLIENT, garbage) == CLIENT


#: One client, as proxies write it.
WRITTEN = [
    ("203.0.113.7", CLIENT),
    ("203.0.113.7:51234", CLIENT),
    ('"203.0.113.7:51234"', CLIENT),
    ('"203.0.113.7"', CLIENT),
    ("203.0.113.7:_port", CLIENT),
    ("[203.0.113.7]:80", CLIENT),
    ("[2001:db8:7:8::1]", "2001:db8:7:8::/64"),
    ("[2001:db8:7:8::1]:443", "2001:db8:7:8::/64"),
    ('"[2001:db8:7:8::1]:443"', "2001:db8:7:8::/64"),
    ('"[2001:db8:7:8::1]"', "2001:db8:7:8::/64"),
    ("2001:db8:7:8::1", "2001:db8:7:8::/64"),
    ("[fe80::1%eth0]:80", "fe80::/64"),
    ("[::ffff:203.0.113.7]:80", CLIENT),
]


@pytest.mark.parametrize(("written", "expected"), WRITTEN)
def test_addresses_as_proxies_write_them(written: str, expected: str) -> None:
    """Ports, brackets and quotes say nothing of who asks, wherever in the field they stand."""
    assert network(PROXY, written) == expected
    assert network(PROXY, f"198.51.100.1:9, {written}, 10.8.8.8:443,10.7.7.7") == expected


def forwarded(value: str, peer: str = PROXY) -> str:
    """Ask who is asking where proxies write `Forwarded`."""
    return RequesterResolver(PROXIES, "Forwarded").resolve(peer, value).network


@pytest.mark.parametrize(("written", "expected"), WRITTEN)
def test_forwarded(written: str, expected: str) -> None:
    """`Forwarded` is read by the same rules, in any case, with whatever else an element says."""
    assert forwarded(f"for={written}") == expected
    assert forwarded(f"For={written};proto=https;by=10.1.2.3") == expected
    assert forwarded(f"by=10.1.2.3 ; FOR={written} ; host=example.com") == expected
    assert forwarded(f"for=198.51.100.1, for={written}, for=10.8.8.8:443,for=10.7.7.7;") == expected
    assert forwarded(f"for={written}", CLIENT) == CLIENT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=unknown", "unknown"),
        ("for=_gazonk", "unknown"),
        ('for="_gazonk:_port"', "unknown"),
        ("proto=https;by=10.1.2.3", "unknown"),
        (f"for={CLIENT}, nonsense", "unknown"),
        (f"for={CLIENT};for=6.6.6.6", "unknown"),
        (f"for={CLIENT};proto=https;For={CLIENT}", "unknown"),
        (f"for={CLIENT};proto=https;proto=http", "unknown"),
        (f"for=1.1.1.1;for=6.6.6.6, for={CLIENT}", CLIENT),
        (CLIENT, "unknown"),
        (f'for="evil, for={CLIENT}', CLIENT),
        (f'for="evil\\", for={CLIENT};by="10.1.2.3"', CLIENT),
        (f'for=1.1.1.1;x="a, b", for={CLIENT}', CLIENT),
        (f'for={CLIENT};x="a, b"', CLIENT),
        (f'host="x;for=1.1.1.1";for={CLIENT}', CLIENT),
        (f'for="{CLIENT[:-1]}\\7"', CLIENT),
        (" , ,", PROXY),
        ("", PROXY),
    ],
)
def test_forwarded_by_whom(value: str, expected: str) -> None:
    """The last proxy's element counts, whatever a client wrote before it or within quotes."""
    assert forwarded(value) == expected


@pytest.mark.parametrize("field", ["X-Forwarded-For", "Forwarded"])
def test_a_hostile_field_takes_no_time(field: str) -> None:
    """The longest field that a server takes is read at once, whatever is in it."""
    resolver = RequesterResolver(PROXIES, field)
    for part in (',a="', "; ", ';a="\\"', ",", '"', "a=b;", "10.1.2.3,", "for=10.1.2.3,", "_"):
        started = time.process_time()
        resolver.resolve(PROXY, part * (8_190 // len(part)) + "x")
        assert time.process_time() - started < 1


def test_the_unreadable_is_logged_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """With its form and without an address; a name that a proxy made up is no fault."""
    now = [0.0]
    resolver = RequesterResolver(PROXIES, clock=lambda: now[0])
    for moment in (0, 1, 59, 60, 61):
        now[0] = moment
        resolver.resolve(PROXY, "203.0.113.7/24")
        resolver.resolve(PROXY, "_hidden")
        resolver.resolve(CLIENT, "203.0.113.7/24")
    lines = [line for line in capsys.readouterr().out.splitlines() if "unreadable" in line]
    assert len(lines) == 2
    assert all("000.0.000.0/00" in line and PROXY in line for line in lines)
    assert not any(CLIENT in line for line in lines)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("2001:db8:7:8:9:a:b:c", "2001:db8:7:8::/64"),
        ("2001:db8:7:8::1", "2001:db8:7:8::/64"),
        ("2001:db8:7:9::1", "2001:db8:7:9::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("::ffff:203.0.113.7", CLIENT),
    ],
)
def test_ipv6_hosts_are_their_64(address: str, expected: str) -> None:
    """All 2^64 addresses that one host is free in are one requester; a mapped IPv4 is IPv4."""
    assert network(address) == expected
    assert network(PROXY, address) == expected


@pytest.mark.parametrize("peer", [None, "", "@", "/run/kith.sock"])
def test_a_unix_socket_has_no_address(peer: str | None) -> None:
    """Without a peer's address nobody can be told apart, and no header is believed."""
    assert network(peer) == "local"
    assert network(peer, CLIENT) == "local"


@given(st.text(max_size=200), st.sampled_from([None, "", CLIENT, PROXY, "::1", "2001:db8:1::1"]))
def test_no_header_breaks_it(header: str, peer: str | None) -> None:
    """Any text in the header gives some requester; from a stranger it changes nothing."""
    assert network(peer, header)
    if peer in (CLIENT, "::1"):
        assert network(peer, header) == network(peer)


def test_through_http_the_header_buys_nothing(make_app: MakeApp) -> None:
    """With no proxy trusted, a new forwarded address for each request is one requester's five."""
    client = make_app().test_client()
    answers = [
        client.post(
            "/v1/verifications",
            json={"phone_number": NUMBER},
            headers={"X-Forwarded-For": f"198.51.100.{n}"},
        )
        for n in range(6)
    ]
    assert [answer.status_code for answer in answers] == [201] * 5 + [429]
    assert problem_code(answers[-1]) == "too-many-sends"


@pytest.mark.parametrize(
    ("believed", "other"), [("X-Forwarded-For", "Forwarded"), ("Forwarded", "X-Forwarded-For")]
)
def test_the_other_field_is_not_read(make_app: MakeApp, believed: str, other: str) -> None:
    """What a client writes into the field that its proxy does not write buys it nothing."""
    settings = {"trusted_proxies": ("127.0.0.1/32",), "forwarded_header": believed}
    client = make_app(**settings).test_client()
    names = {"X-Forwarded-For": "{}:4711", "Forwarded": 'for="{}:4711";proto=https'}

    def start(address: str, claim: str) -> int:
        headers = {believed: names[believed].format(address), other: names[other].format(claim)}
        body = {"phone_number": NUMBER}
        return client.post("/v1/verifications", json=body, headers=headers).status_code

    assert [start(CLIENT, f"192.0.2.{n}") for n in range(6)] == [201] * 5 + [429]
    assert start("198.51.100.1", CLIENT) == 201


def test_through_a_trusted_proxy_requesters_are_told_apart(make_app: MakeApp) -> None:
    """Behind a proxy each client has its own five, and what it invents further left is no one's."""
    client = make_app(trusted_proxies=("127.0.0.1/32",)).test_client()

    def start(header: str) -> int:
        headers = {"X-Forwarded-For": header}
        body = {"phone_number": NUMBER}
        return client.post("/v1/verifications", json=body, headers=headers).status_code

    assert [start(f"192.0.2.{n}, {CLIENT}") for n in range(6)] == [201] * 5 + [429]
    assert [start(f"2001:db8:5:5::{n}") for n in range(6)] == [201] * 5 + [429]
    assert start("198.51.100.1") == 201
