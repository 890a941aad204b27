"""The dashboard can be imported, and asks for metrics and labels that the service has."""

import json
import re
from typing import Any

import pytest

from core.metrics import Metrics
from discovery.metrics import DiscoveryMetrics
from interop.matrix.metrics import MatrixMetrics
from messaging.metrics import MessagingMetrics
from messaging.push.metrics import PushMetrics
from sms.metrics import SmsMetrics
from tests.databases import ROOT
from verification.metrics import VerificationMetrics

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana.json").read_text())
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}
QUERIES = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]
]


def _exposed() -> dict[str, set[str]]:
    """Give every name that is exposed, suffix included, with its labels."""
    metrics = Metrics()
    sms = SmsMetrics(metrics)
    parts = (
        metrics,
        sms,
        VerificationMetrics(metrics, sms.funnel),
        DiscoveryMetrics(metrics),
        MessagingMetrics(metrics),
        PushMetrics(metrics),
        MatrixMetrics(metrics),
    )
    labels = {
        metric._name: {*metric._labelnames, "le"}
        for part in parts
        for metric in vars(part).values()
        if hasattr(metric, "_labelnames")
    }
    types = re.findall(r"^# TYPE (\w+) (\w+)$", metrics.render().decode(), re.MULTILINE)
    return {
        name + suffix: labels[name.removesuffix("_total")]
        for name, kind in types
        if not name.endswith("_created")
        for suffix in SUFFIXES.get(kind, ("",))
    }


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_queries_name_metrics_and_labels_that_exist(title: str, query: str) -> None:
    """Each metric, suffix included, is exposed, and has the labels that it is picked and added up by."""
    exposed = _exposed()
    names = re.findall(r"\bkith_\w+", query)
    assert names, title
    assert set(names) <= set(exposed), title
    labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", query))
    for group in re.findall(r"\bby \(([^)]*)\)", query):
        labels |= {label.strip() for label in group.split(",")}
    shared = set.intersection(*(exposed[name] for name in names))
    assert labels <= shared | {"step"}, title


def test_dashboard_can_be_imported_anywhere() -> None:
    """It names no data source of one installation, and no two panels share an id or a place."""
    assert DASHBOARD["schemaVersion"] >= 39 and DASHBOARD["id"] is None and DASHBOARD["title"]
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    parts = [part for panel in DASHBOARD["panels"] for part in (panel, *panel["targets"])]
    assert {part["datasource"]["uid"] for part in parts} == {"${datasource}"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) and len(set(places)) == len(places)
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(DASHBOARD["panels"])))
    assert used <= set(variables)


def test_every_metric_of_the_funnel_is_shown() -> None:
    """The figures of the report are all on the dashboard."""
    text = " ".join(query for _, query in QUERIES)
    for name in (
        "kith_funnel_total",
        "kith_spent_micros_total",
        "kith_seconds_to_verify_bucket",
        "kith_policy_rule_results_total",
        "kith_policy_decisions_total",
        "kith_deliveries_total",
        "kith_send_seconds_bucket",
        "kith_http_request_seconds_bucket",
    ):
        assert name in text
