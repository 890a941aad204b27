"""A test client that holds every answer against the OpenAPI document of the application."""

import json
import re
from functools import cache, cached_property
from typing import Any

import jsonschema_rs
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

#: By the paths of an application: they decide the document, and making it takes 15 ms.
_DOCUMENTS: dict[tuple[str, ...], tuple[dict[str, Any], str]] = {}


@cache
def _validator(reference: str, components: str) -> jsonschema_rs.Draft202012Validator:
    """Compile a schema once; `components` is the text of all the schemas it may refer to."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": reference, "components": json.loads(components)}
    )


class ContractClient(FlaskClient):
    """A client that fails when an answer is not what the document promises."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send a request and check its answer against the document."""
        response = super().open(*args, **kwargs)
        self._check(response)
        return response

    @cached_property
    def _document(self) -> tuple[dict[str, Any], str]:
        """The document, and the text of its schemas."""
        rules = tuple(rule.rule for rule in self.application.url_map.iter_rules())
        if rules not in _DOCUMENTS:
            document = self.application.api_doc  # type: ignore[attr-defined]
            _DOCUMENTS[rules] = document, json.dumps(document["components"])
        return _DOCUMENTS[rules]

    def _check(self, response: TestResponse) -> None:
        document, components = self._document
        adapter = self.application.url_map.bind("localhost")
        path = response.request.path
        method = response.request.method
        assert response.headers["X-Request-Id"]
        if not adapter.test(path, method):
            assert response.status_code in (404, 405, 308) or method == "OPTIONS", response.text
            return
        rule = adapter.match(path, method, return_rule=True)[0].rule
        template = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)
        item = document["paths"].get(template)
        if item is None or method.lower() not in item:
            assert rule.startswith("/docs/assets") or method in ("OPTIONS", "HEAD"), rule
            return
        promised = item[method.lower()]["responses"]
        status = str(response.status_code)
        assert status in promised, (
            f"{method} {template} gave an undocumented {status}: {response.text}"
        )
        content = promised[status].get("content")
        if not content:
            assert response.data == b"", response.text
            return
        assert response.mimetype in content, f"{template} {status}: {response.mimetype}"
        schema = content[response.mimetype].get("schema")
        if schema:
            _validator(schema["$ref"], components).validate(response.json)
        if response.status_code >= 400:
            codes = promised[status]["description"]
            body = response.json
            code = body["type"].removeprefix("/problems/") if "type" in body else None
            code = code or body.get("code") or body["errcode"]
            assert f"`{code}`" in codes, f"{method} {template} gave an undocumented {code}"
