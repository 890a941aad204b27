"""The mock provider's outbox, as a page and as JSON; registered only when it is in use."""

from flask import Response, current_app, render_template

from core.api import Api
from sms.outbox import OutboxProvider
from sms.schemas import OutboxAnswer, OutboxEntry, OutboxQuery

outbox_api = Api(
    "outbox",
    __name__,
    description="Texts of the mock provider (development only)",
    url_prefix="/dev",
)
outbox_api.template_folder = "templates"


def _outbox() -> OutboxProvider:
    provider = current_app.extensions["kith"].sms.providers["outbox"]
    assert isinstance(provider, OutboxProvider)
    return provider


@outbox_api.operation("GET", "/outbox.json", answer=OutboxAnswer)
def read_outbox(query: OutboxQuery) -> OutboxAnswer:
    """List what the mock provider sent, newest first."""
    return OutboxAnswer(
        messages=[
            OutboxEntry.model_validate(message, from_attributes=True)
            for message in _outbox().read(query.to)
        ]
    )


@outbox_api.operation(
    "GET", "/outbox", answer={"description": "A page", "content": {"text/html": {}}}
)
def show_outbox(query: OutboxQuery) -> Response:
    """Show what the mock provider sent, as a page that refreshes itself."""
    page = render_template("outbox.html", messages=_outbox().read(query.to), to=query.to)
    return Response(page, mimetype="text/html")
