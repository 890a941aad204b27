"""`make bench`: measure the service and print a table and JSON."""

import json
from pathlib import Path

import click
from rich.console import Console

from bench.report import document, show
from bench.run import Plan, run


@click.command()
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), default="sqlite")
@click.option("--seconds", default=Plan.seconds, show_default=True, help="Time a job is measured.")
@click.option("--connections", default=Plan.connections, show_default=True)
@click.option("--accounts", default=Plan.population, show_default=True, help="In the directory.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(database: str, seconds: float, connections: int, accounts: int, file: Path | None) -> None:
    """Measure journeys, authenticated requests and lookups beside GET /livez on one server."""
    plan = Plan(database, seconds, connections=connections, population=accounts)
    progress = Console(stderr=True)
    results = run(plan, lambda step: progress.print(f"… {step}", style="dim"))
    text = json.dumps(document(plan, results), indent=2)
    show(Console(), plan, results)
    print(text)
    if file:
        file.write_text(text + "\n")


main()
