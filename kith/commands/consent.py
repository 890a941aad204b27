"""Own the commands about who may write: accept, block, unblock."""

from collections.abc import Callable

import click

from kith.client import Kith
from kith.commands.failures import REFUSED, Failure
from kith.commands.messaging import messaging
from kith.commands.output import clean
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
    _decide(session, name, Kith.accept, "You are in touch with {}.")


@click.command()
@click.argument("name")
@click.pass_obj
def block(session: Session, name: str) -> None:
    """Have NAME's messages dropped from now on; they are not told.

    \b
    Example:
      kith block Eve
    """
    _decide(session, name, Kith.block, "{} is blocked.")


@click.command()
@click.argument("name")
@click.pass_obj
def unblock(session: Session, name: str) -> None:
    """Let NAME write again, as somebody you have never met.

    \b
    Example:
      kith unblock Eve
    """
    _decide(session, name, Kith.forget, "{} can write to you again.")


def _decide(session: Session, name: str, decide: Callable[[Kith, str], None], said: str) -> None:
    with messaging(session) as opened:
        account_id = opened.account(name)
        if account_id == opened.credentials.account_id:
            raise Failure("That is your own account.", exit_code=REFUSED)
        decide(opened.kith, account_id)
        click.echo(said.format(clean(opened.label(account_id))))
