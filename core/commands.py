"""Commands for operators: `flask --app app maintenance run`."""

import click
from flask import current_app
from flask.cli import AppGroup

maintenance_commands = AppGroup("maintenance", help="Periodic work: delete what is expired.")


@maintenance_commands.command("run")
def run_maintenance() -> None:
    """Delete what is expired, once, and say how much.

    The default server does this by itself every KITH_MAINTENANCE_INTERVAL seconds; set that to 0 and
    schedule this command instead if you like. Example: flask --app app maintenance run
    """
    deleted = current_app.extensions["kith"].maintenance.run()
    if deleted is None:
        click.echo("Another process is doing the periodic work right now; nothing to do.")
        return
    for name, rows in deleted.items():
        click.echo(f"{name:20} {rows:8}")
