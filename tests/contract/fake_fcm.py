"""FCM on the loopback, with the endpoint where Google gives access tokens to service accounts."""

import json

from tests.contract.fake_http import Answer, FakeProvider, Received

SEND = "/v1/projects/kith-test/messages:send"


class FakeFcm(FakeProvider):
    """Google's token endpoint and FCM in one."""

    def accept(self, request: Received) -> Answer:
        """Give a token for a signed assertion; take a message under it."""
        if request.path == "/token":
            token = {"access_token": f"ya29.{len(self.received)}", "expires_in": 3599}
            return Answer(200, json.dumps(token).encode())
        return Answer(200, b'{"name": "projects/kith-test/messages/1"}')

    def at(self, path: str) -> list[Received]:
        """Give what came to a path."""
        return [request for request in self.received if request.path == path]

    def sent(self) -> list[Received]:
        """Give the messages that came."""
        return self.at(SEND)
