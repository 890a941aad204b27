"""The `kith` command: its global options and its list of commands."""

from importlib import import_module

import click

from kith.commands.errors import USAGE, ErrorGroup, Failure
from kith.commands.session import Dependencies, Session
from kith.errors import MessagesNotInstalled

#: The module of each command, imported when the command runs.
COMMANDS = {
    **dict.fromkeys(("discoverable", "lock", "logout", "rotate", "whoami"), "account"),
    **dict.fromkeys(("link", "register"), "registration"),
    **dict.fromkeys(("accept", "block", "inbox", "send", "unblock"), "messages"),
    **{name: name for name in ("chat", "devices", "groups", "keys", "sync")},
    "numbers": "address_book",
}


class CommandGroup(ErrorGroup):
    """Loads commands lazily; without `kith[messages]` those about messages say how to install it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        try:
            module = import_module(f"kith.commands.{COMMANDS[cmd_name]}")
        except MessagesNotInstalled as missing:
            return _unavailable(cmd_name, str(missing))
        command: click.Command = getattr(module, cmd_name)
        return command


def _unavailable(name: str, reason: str) -> click.Command:
    def fail(**_: object) -> None:
        raise Failure(reason, exit_code=USAGE)

    return click.Command(
        name,
        callback=fail,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        help=reason,
    )


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kith", prog_name="kith")
@click.option(
    "--server",
    envvar="KITH_SERVER",
    metavar="URL",
    help="Server; by default the one this profile registered at, or http://127.0.0.1:8000.",
)
@click.option(
    "--profile",
    metavar="NAME",
    help="Keep credentials in ~/.config/kith/NAME.json; for several people on one machine.",
)
@click.option(
    "--credentials",
    envvar="KITH_CREDENTIALS",
    type=click.Path(dir_okay=False),
    help="Keep credentials in this file; by default ~/.config/kith/credentials.json.",
)
@click.option(
    "--token-file",
    envvar="KITH_TOKEN_FILE",
    type=click.Path(dir_okay=False),
    help="Use the token in this file, such as a service's, without credentials. Needs --server.",
)
@click.option(
    "--insecure",
    envvar="KITH_INSECURE",
    is_flag=True,
    help="Allow http:// to another machine, where anybody on the way can read tokens and codes.",
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
    """Verify a phone number, find contacts, send messages, manage devices.

    \b
    First steps:
      kith register +4915112345678
      kith sync contacts.vcf
      kith send Ann "Hello"
      kith inbox

    \b
    Environment variables: KITH_SERVER, KITH_CREDENTIALS and KITH_TOKEN_FILE for the options,
    KITH_TOKEN for a token itself, KITH_PASSPHRASE for the passphrase of stored messages.

    \b
    Exit codes:
      0    done
      1    the server failed, or its answer is not a Kith server's
      2    wrong use of the command, or its packages are not installed
      3    not signed in, or no longer
      4    the server cannot be reached
      5    refused: something given is wrong or not allowed
      6    refused for now: try again later
      7    a local file cannot be read or written
      8    sync: the budget is used up; the next run continues
      9    sync, numbers --strict: something in the file could not be read, or no number was found
      130  stopped
      141  the reader of the output has closed it
    """
    dependencies = ctx.obj if isinstance(ctx.obj, Dependencies) else Dependencies()
    by_command_line = click.core.ParameterSource.COMMANDLINE
    by_option = ctx.get_parameter_source("credentials") is by_command_line
    if profile is not None and by_option:
        raise click.UsageError("Give --profile or --credentials, not both.")
    if ctx.get_parameter_source("token_file") is by_command_line and (profile or by_option):
        raise click.UsageError("Give --token-file or credentials, not both.")
    ctx.obj = Session.from_options(
        dependencies,
        server=server,
        profile=profile,
        credentials=credentials,
        token_file=token_file,
        insecure=insecure,
    )
