"""Own the commands about who may write: accept, block, unblock."""

import click

from kith.commands.messaging import messaging
from kith.commands.session import Session


@click.command()
@click.argument("name")
@click.pass_obj
def accept(session: Session, name: str) -> None:
    """Take NAME's messages as no requests any more.

    \b
    Example:
      kith accept Ann
    """
    with messaging(session) as opened:
        account_id = opened.account(name)
        opened.kith.accept(account_id)
        click.echo(f"You are in touch with {opened.label(account_id)}.")


@click.command()
@click.argument("name")
@click.pass_obj
def block(session: Session, name: str) -> None:
    """Have NAME's messages dropped from now on; they are not told.

    \b
    Example:
      kith block Eve
    """
    with messaging(session) as opened:
        account_id = opened.account(name)
        opened.kith.block(account_id)
        click.echo(f"{opened.label(account_id)} is blocked.")


@click.command()
@click.argument("name")
@click.pass_obj
def unblock(session: Session, name: str) -> None:
    """Let NAME write again, as somebody you have never met.

    \b
    Example:
      kith unblock Eve
    """
    with messaging(session) as opened:
        account_id = opened.account(name)
        opened.kith.forget(account_id)
        click.echo(f"{opened.label(account_id)} can write to you again.")
