"""Matrix clients and a homeserver that vouches for their users, for tests of the Matrix adapter."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask_openapi3 import OpenAPI
from nacl.signing import SigningKey
from werkzeug.test import TestResponse

from discovery.digests import digest_number, encode_hash
from interop.matrix.errors import CORS, PREFIX
from interop.matrix.signing import canonical_json, unpadded
from tests.conftest import NUMBER, MakeApp
from tests.contract.fake_http import Answer, FakeProvider, Received

#: Of hs.example, other.example, delegated.example and 127.0.0.1.
CERTIFICATE = Path(__file__).parent / "contract" / "homeserver_certificate.pem"
V2 = f"{PREFIX}/v2"
USERINFO = "/_matrix/federation/v1/openid/userinfo"
KEYS = "/_matrix/key/v2/server"
SECRET = "monkeys_are_GREAT"


def homeserver_context() -> SSLContext:
    """Serve as one of the homeservers."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


class Homeserver(FakeProvider):
    """A homeserver on a free port of the loopback, which knows one OpenID token a user."""

    def __init__(self) -> None:
        super().__init__(homeserver_context())
        self.subjects: dict[str, str] = {}
        self.signing_key = SigningKey.generate()
        self.key_id = "ed25519:a_1"
        #: Until when its keys hold, in milliseconds since 1970.
        self.keys_until = 4_102_444_800_000

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(urlsplit(self.url).port or 0)

    def name(self, host: str = "hs.example") -> str:
        """Return a server name that leads to it."""
        return f"{host}:{self.port}"

    def sign(self, value: dict[str, Any]) -> str:
        """Sign an object."""
        return unpadded(self.signing_key.sign(canonical_json(value)).signature)

    def keys(self, host: str = "hs.example") -> dict[str, Any]:
        """Publish its key, as a server of that name."""
        name = self.name(host)
        published = {
            "server_name": name,
            "valid_until_ts": self.keys_until,
            "verify_keys": {self.key_id: {"key": unpadded(bytes(self.signing_key.verify_key))}},
            "old_verify_keys": {},
        }
        return published | {"signatures": {name: {self.key_id: self.sign(published)}}}

    def authorize(
        self,
        content: Any,
        destination: str = "127.0.0.1:8000",
        member: str = "destination_is",
        path: str = f"{V2}/3pid/unbind",
    ) -> str:
        """Sign a request as Synapse does; give its Authorization header."""
        signed = {"method": "POST", "uri": path, "origin": self.name(), "content": content}
        signature = self.sign(signed | {member: destination})
        return (
            f'X-Matrix origin="{self.name()}",key="{self.key_id}",sig="{signature}",'
            f'destination="{destination}"'
        )

    def accept(self, request: Received) -> Answer:
        """Answer whose token it is, or publish the keys."""
        parts = urlsplit(request.path)
        if parts.path == KEYS:
            host = request.headers["Host"].rpartition(":")[0]
            return Answer(200, json.dumps(self.keys(host)).encode())
        if parts.path != USERINFO:
            return Answer(404, b'{"errcode": "M_UNRECOGNIZED", "error": "?"}')
        (token,) = parse_qs(parts.query)["access_token"]
        if token not in self.subjects:
            return Answer(401, b'{"errcode": "M_UNKNOWN_TOKEN", "error": "unknown"}')
        return Answer(200, json.dumps({"sub": self.subjects[token]}).encode())

    def openid(self, name: str, host: str = "hs.example") -> dict[str, Any]:
        """Issue an OpenID token to a user, as `/openid/request_token` answers it."""
        server = self.name(host)
        token = f"openid-{name}-{host}"
        self.subjects[token] = f"@{name}:{server}"
        return {
            "access_token": token,
            "token_type": "Bearer",
            "matrix_server_name": server,
            "expires_in": 3600,
        }


def make_matrix_app(
    make_app: MakeApp, ports: dict[str, Any] | None = None, **settings: Any
) -> OpenAPI:
    """Make an application whose Matrix adapter is open, and to which every host is this one."""
    values = {
        "matrix_enabled": True,
        "matrix_allowed_networks": ("127.0.0.0/8",),
        "matrix_ca_file": CERTIFICATE,
        "matrix_homeservers": "hs.example, other.example",
    }
    resolver = {"resolver": lambda host: ["127.0.0.1"]}
    return make_app(ports=resolver | (ports or {}), **(values | settings))


@dataclass
class MatrixClient:
    """A Matrix client of one user."""

    app: OpenAPI
    user_id: str
    token: str

    @classmethod
    def register(
        cls, app: OpenAPI, homeserver: Homeserver, name: str = "alice", host: str = "hs.example"
    ) -> "MatrixClient":
        """Register a user of a homeserver."""
        openid = homeserver.openid(name, host)
        answer = app.test_client().post(f"{V2}/account/register", json=openid)
        assert answer.status_code == 200, answer.text
        return cls(app, f"@{name}:{openid['matrix_server_name']}", answer.json["token"])

    def call(self, method: str, path: str, **request: Any) -> TestResponse:
        """Call an operation with the user's token; every answer may be read by any page."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = self.app.test_client().open(
            f"{V2}{path}", method=method, **({"headers": headers} | request)
        )
        assert dict(answer.headers).items() >= CORS.items()
        return answer

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> TestResponse:
        """Post a body."""
        return self.call("POST", path, json=body or {})

    def get(self, path: str, **query: str) -> TestResponse:
        """Get with a query."""
        return self.call("GET", path, query_string=query)

    def request_token(self, number: str = NUMBER, **fields: Any) -> TestResponse:
        """Ask for a token for a number."""
        body = {
            "client_secret": SECRET,
            "country": "DE",
            "phone_number": number,
            "send_attempt": 1,
        }
        return self.post("/validate/msisdn/requestToken", body | fields)

    def session(self, number: str = NUMBER, **fields: Any) -> str:
        """Have a token sent; give the session's id."""
        answer = self.request_token(number, **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json["sid"])  # type: ignore[index]

    def submit(self, sid: str, token: str, secret: str = SECRET) -> TestResponse:
        """Check a token."""
        body = {"sid": sid, "client_secret": secret, "token": token}
        return self.post("/validate/msisdn/submitToken", body)

    def texts(self, number: str = NUMBER) -> list[str]:
        """Read the texts of a number, newest first."""
        outbox = self.app.extensions["kith"].sms.providers["outbox"]
        return [str(message.body) for message in outbox.read(number, limit=20)]

    def code(self, number: str = NUMBER) -> str:
        """Read the newest token of a number."""
        found = re.search(r"\d{6,8}", self.texts(number)[0])
        assert found
        return found.group()

    def validated(self, number: str = NUMBER, **fields: Any) -> str:
        """Validate a number; give the session's id."""
        sid = self.session(number, **fields)
        answer = self.submit(sid, self.code(number), fields.get("client_secret", SECRET))
        assert (answer.status_code, answer.json) == (200, {"success": True}), answer.text
        return sid

    def bind(self, sid: str, user_id: str | None = None, secret: str = SECRET) -> TestResponse:
        """Bind what was validated."""
        body = {"sid": sid, "client_secret": secret, "mxid": user_id or self.user_id}
        return self.post("/3pid/bind", body)

    def bound(self, number: str = NUMBER, **fields: Any) -> dict[str, Any]:
        """Validate and bind a number; give the association."""
        secret = fields.get("client_secret", SECRET)
        answer = self.bind(self.validated(number, **fields), secret=secret)
        assert answer.status_code == 200, answer.text
        association: dict[str, Any] = answer.json  # type: ignore[assignment]
        return association

    def pepper(self) -> str:
        """Ask how to hash."""
        return str(self.get("/hash_details").json["lookup_pepper"])  # type: ignore[index]

    def look_up(
        self, numbers: list[str], pepper: str | None = None, address: str = "127.0.0.1"
    ) -> TestResponse:
        """Look up numbers by their hashes, from an address."""
        salt = pepper or self.pepper()
        hashes = [hashed(number, salt) for number in numbers]
        body = {"algorithm": "sha256", "pepper": salt, "addresses": hashes}
        requester = {"REMOTE_ADDR": address}
        return self.call("POST", "/lookup", json=body, environ_base=requester)

    def found(self, *numbers: str) -> dict[str, str]:
        """Look up numbers; give the users of those that are somebody's."""
        pepper = self.pepper()
        answer = self.look_up(list(numbers), pepper)
        assert answer.status_code == 200, answer.text
        mappings: dict[str, str] = answer.json["mappings"]  # type: ignore[index]
        return {n: mappings[hashed(n, pepper)] for n in numbers if hashed(n, pepper) in mappings}


def hashed(number: str, pepper: str) -> str:
    """Hash a number as clients do."""
    return encode_hash(digest_number(number, pepper))


def fault(answer: TestResponse) -> tuple[int, str]:
    """Return status and code of an error, which has the shape of the specification."""
    body = answer.json
    assert answer.content_type == "application/json", answer.text
    assert body is not None and {"errcode", "error"} <= set(body) <= {
        "errcode",
        "error",
        "retry_after_ms",
        "mxid",
    }
    assert dict(answer.headers).items() >= CORS.items()
    return answer.status_code, str(body["errcode"])
