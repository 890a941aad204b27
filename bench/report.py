"""What a run found, as a table for people and as JSON for machines."""

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.jobs import PAGE
from bench.load import Measured
from bench.run import Plan, Result, rate

PACKAGES = ("flask", "gunicorn", "gevent", "sqlalchemy", "pydantic", "psycopg", "phonenumbers")


def percentile(values: list[float], share: float) -> float:
    """Give the value below which that share of the values lies, in milliseconds."""
    ordered = sorted(values)
    return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(console: Console, plan: Plan, results: list[Result]) -> None:
    """Print a run as a table."""
    table = Table(title=f"Kith on {plan.database}, {plan.connections} connections")
    table.add_column("job", min_width=24)
    # By time: what was seen, on however busy a machine. By processor: what it costs, on any.
    for heading in ("a second", "p50 ms", "p99 ms", "CPU ms", "livez/s", "N livez", "by CPU"):
        table.add_column(heading, justify="right")
    for result in results:
        values = result.measured.latencies[result.unit]
        table.add_row(
            result.name,
            f"{result.rate:,.1f}",
            f"{percentile(values, 0.5):.2f}",
            f"{percentile(values, 0.99):.2f}",
            f"{_cpu(result.measured, result.unit):.2f}",
            f"{result.livez_rate:,.0f}",
            f"{result.livez_rate / result.rate:.1f}",
            f"{_cpu_ratio(result):.1f}",
        )
        for step, timings in result.measured.latencies.items():
            if step != result.unit:
                p50, p99 = percentile(timings, 0.5), percentile(timings, 0.99)
                table.add_row(f"  {step}", "", f"{p50:.2f}", f"{p99:.2f}")
        if result.unit == "lookup":
            table.add_row("  contacts", f"{result.rate * PAGE:,.0f}")
    for around, name in zip(_livez(results), _livez_names(results), strict=True):
        values = around.latencies["livez"]
        p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
        each = f"{rate(around, 'livez'):,.0f}"
        spent = f"{_cpu(around, 'livez'):.2f}"
        table.add_row(f"GET /livez {name}", each, f"{p50:.2f}", f"{p99:.2f}", spent)
    console.print(table)
    for result in results:
        console.print(
            f"one {result.unit} for every {result.livez_rate / result.rate:.1f} livez"
            f" ({_cpu_ratio(result):.1f} by processor time)"
        )


def document(plan: Plan, results: list[Result]) -> dict[str, Any]:
    """Give a run as JSON."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "plan": vars(plan),
        "code": "derived by the load generator with the server's own key",
        "livez": [_figures(around, "livez") for around in _livez(results)],
        "jobs": [
            {
                "name": result.name,
                **_figures(result.measured, result.unit),
                "steps": {
                    step: _timings(timings)
                    for step, timings in result.measured.latencies.items()
                    if step != result.unit
                },
                "livez_per_second": round(result.livez_rate, 1),
                "livez_for_one": round(result.livez_rate / result.rate, 2),
                "livez_for_one_by_cpu": round(_cpu_ratio(result), 2),
                **(
                    {"contacts_per_second": round(result.rate * PAGE)}
                    if result.unit == "lookup"
                    else {}
                ),
            }
            for result in results
        ],
    }


def _livez(results: list[Result]) -> list[Measured]:
    return [results[0].livez[0], *(result.livez[1] for result in results)]


def _livez_names(results: list[Result]) -> list[str]:
    return ["before", *(f"after {result.unit}s" for result in results)]


def _cpu(measured: Measured, unit: str) -> float:
    """Give the server's processor time for one, in milliseconds; other load does not change it."""
    return 1_000 * measured.server_cpu / len(measured.latencies[unit])


def _cpu_ratio(result: Result) -> float:
    livez = sum(_cpu(around, "livez") for around in result.livez) / 2
    return _cpu(result.measured, result.unit) / livez


def _figures(measured: Measured, unit: str) -> dict[str, Any]:
    return {
        "per_second": round(rate(measured, unit), 1),
        **_timings(measured.latencies[unit]),
        "seconds": round(measured.seconds, 2),
        "server_cores": round(measured.server_cpu / measured.seconds, 2),
        "client_cores": round(measured.client_cpu / measured.seconds, 2),
        "server_cpu_ms_each": round(_cpu(measured, unit), 3),
    }


def _timings(values: list[float]) -> dict[str, float]:
    return {
        "count": len(values),
        "p50_ms": round(percentile(values, 0.5), 3),
        "p99_ms": round(percentile(values, 0.99), 3),
    }


def machine() -> dict[str, Any]:
    """Say what was measured on."""
    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: version(name) for name in PACKAGES},
    }
