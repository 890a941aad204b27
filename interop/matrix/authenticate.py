"""Authentication of Matrix requests: by access token in header or query, or by a homeserver's signature."""

from dataclasses import dataclass

from flask import g, request

from core.parsing import read_body
from interop.matrix.accounts import MatrixAccountService, MatrixCaller
from interop.matrix.problems import MatrixTokenInvalid, MatrixTokenUnknown
from interop.matrix.signed_requests import SCHEME, HomeserverCaller, RequestVerifier
from tokens.authenticate import bearer_token


@dataclass(frozen=True)
class MatrixAuthentication:
    """Authenticates requests."""

    accounts: MatrixAccountService
    verifier: RequestVerifier

    def user(self) -> MatrixCaller:
        """Return the user who makes the request; raises what `MatrixAccountService.authenticate` raises."""
        return self.accounts.authenticate(_token())

    def user_before_terms(self) -> MatrixCaller:
        """Return the user, who need not have accepted the terms."""
        return self.accounts.authenticate(_token(), need_terms=False)

    def user_logging_out(self) -> MatrixCaller:
        """Return the user who logs out; raises MatrixTokenUnknown if nobody is logged in."""
        try:
            return self.user_before_terms()
        except MatrixTokenInvalid as invalid:
            raise MatrixTokenUnknown(invalid.detail) from None

    def user_or_homeserver(self) -> MatrixCaller | HomeserverCaller:
        """Return the user, or the homeserver that signed the request, by the authentication scheme.

        Raises what `user` and `RequestVerifier.verify` raise.
        """
        header = request.headers.get("Authorization", "")
        if header.partition(" ")[0].lower() != SCHEME:
            return self.user()
        query = request.query_string.decode("latin-1")
        path = f"{request.path}?{query}" if query else request.path
        return self.verifier.verify(header, request.method, path, read_body(keep=True), g.requester)


def _token() -> str | None:
    return bearer_token() or request.args.get("access_token")
