"""The outbox of the mock provider, as a page and as JSON; only registered if it is in use."""

from flask import Response, render_template

from core.api import Api
from sms.outbox import OutboxProvider
from sms.schemas import OutboxAnswer, OutboxEntry, OutboxQuery


def outbox_api(outbox: OutboxProvider) -> Api:
    """Return the routes under `/dev/outbox`."""
    api = Api(
        "outbox",
        __name__,
        description="Texts of the mock provider (development only)",
        url_prefix="/dev",
    )
    api.template_folder = "templates"

    @api.operation("GET", "/outbox.json", answer=OutboxAnswer)
    def read_outbox(query: OutboxQuery) -> OutboxAnswer:
        """List the messages of the mock provider, newest first."""
        messages = outbox.read(query.to)
        return OutboxAnswer(
            messages=[OutboxEntry.model_validate(each, from_attributes=True) for each in messages]
        )

    @api.operation("GET", "/outbox", answer={"description": "A page", "content": {"text/html": {}}})
    def show_outbox(query: OutboxQuery) -> Response:
        """Show the messages of the mock provider on a page that refreshes itself."""
        page = render_template("outbox.html", messages=outbox.read(query.to), to=query.to)
        return Response(page, mimetype="text/html")

    return api
