"""Own the `kith` command: its global options, its list of commands, and what a failure looks like
in a shell.

Refuse tracebacks for what can be expected: one line on stderr says what is wrong, one what to do
next.
"""

import click

from kith.commands.account import discoverable, lock, logout, rotate, whoami
from kith.commands.chat import chat
from kith.commands.consent import accept, block, unblock
from kith.commands.contacts import sync
from kith.commands.devices import devices
from kith.commands.failures import FailingGroup
from kith.commands.groups import groups
from kith.commands.keys import keys
from kith.commands.messages import inbox, send
from kith.commands.numbers import numbers
from kith.commands.registration import link, register
from kith.commands.session import Session, Wiring


@click.group(cls=FailingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server",
    envvar="KITH_SERVER",
    metavar="URL",
    help="Server to speak to; otherwise the one this profile registered at, or http://127.0.0.1:8000.",
)
@click.option(
    "--profile",
    metavar="NAME",
    help="Keep credentials in ~/.config/kith/NAME.json, to be several people on one machine.",
)
@click.option(
    "--credentials",
    envvar="KITH_CREDENTIALS",
    type=click.Path(dir_okay=False),
    help="Keep credentials in this file; otherwise ~/.config/kith/credentials.json.",
)
@click.option(
    "--token-file",
    envvar="KITH_TOKEN_FILE",
    type=click.Path(dir_okay=False),
    help="Use the token in this file, such as a service's, instead of credentials. Needs --server.",
)
@click.option(
    "--insecure",
    envvar="KITH_INSECURE",
    is_flag=True,
    help="Send tokens and codes over http:// to another machine, where anybody on the way reads them.",
)
@click.pass_context
def main(
    ctx: click.Context,
    server: str | None,
    profile: str | None,
    credentials: str | None,
    token_file: str | None,
    insecure: bool,
) -> None:
    """Prove a phone number, find contacts, write to them, look after devices.

    \b
    First steps:
      kith register +4915112345678
      kith sync contacts.vcf
      kith send Ann "Hello"
      kith inbox

    \b
    Options can also be given as KITH_SERVER, KITH_CREDENTIALS and KITH_TOKEN_FILE, and a token
    itself as KITH_TOKEN; the passphrase of the messages kept here as KITH_PASSPHRASE.

    \b
    Exit codes:
      0    done
      1    the server failed or answered nonsense
      2    wrong use of the command
      3    not signed in, or no longer
      4    the server cannot be reached
      5    refused: something given is wrong or not allowed
      6    refused for now: try again later
      7    a local file cannot be read or written
      8    sync: the budget is used up; what was done is kept, run it again later
      9    sync, numbers --strict: something in the file could not be read, or no number was found
      130  stopped
      141  whoever read the output has closed it
    """
    wiring = ctx.obj if isinstance(ctx.obj, Wiring) else Wiring()
    by_command_line = click.core.ParameterSource.COMMANDLINE
    by_option = ctx.get_parameter_source("credentials") is by_command_line
    if profile is not None and by_option:
        raise click.UsageError("Give --profile or --credentials, not both.")
    if ctx.get_parameter_source("token_file") is by_command_line and (profile or by_option):
        raise click.UsageError("Give --token-file or credentials, not both.")
    ctx.obj = Session.of(
        wiring,
        server=server,
        profile=profile,
        credentials=credentials,
        token_file=token_file,
        insecure=insecure,
    )


for _command in (
    *(register, link, whoami, devices, lock, discoverable, sync, numbers, rotate, logout),
    *(send, inbox, chat, keys, groups, accept, block, unblock),
):
    main.add_command(_command)
