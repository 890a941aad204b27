"""`kith groups`: create a group, list members, invite, join, leave."""

import click

from kith.client import Kith
from kith.commands.errors import REFUSED, Failure
from kith.commands.messaging import Messaging, all_groups, messaging
from kith.commands.output import print_json, print_table
from kith.commands.session import Session
from kith.models import Group, GroupSummary


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def groups(ctx: click.Context, as_json: bool) -> None:
    """List your groups and invitations, or change one.

    \b
    Example:
      kith groups
      kith groups create Hiking Ann Ben
      kith send --group Hiking "Tomorrow?"
    """
    if ctx.invoked_subcommand is not None:
        return
    kith, _ = ctx.obj.signed_in()
    with kith:
        found = list(all_groups(kith))
    if as_json:
        print_json(found)
        return
    print_table(("NAME", "STATE", "ROLE", "ID"), [(g.name, g.state, g.role, g.id) for g in found])


@groups.command()
@click.argument("title", metavar="GROUP")
@click.argument("names", metavar="NAME", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def create(session: Session, title: str, names: tuple[str, ...], as_json: bool) -> None:
    """Create a group with others; people who have not accepted you are invited.

    The server knows its name and members, but not its messages.

    \b
    Example:
      kith groups create Hiking Ann Ben
    """
    with messaging(session) as context:
        group = context.kith.create_group(title, [context.account(name) for name in names])
        _show(context, group, as_json=as_json)


@groups.command()
@click.argument("title", metavar="GROUP")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def members(session: Session, title: str, as_json: bool) -> None:
    """Show the members of a group.

    \b
    Example:
      kith groups members Hiking
    """
    with messaging(session) as context:
        _show(context, context.kith.group(find_group(context.kith, title).id), as_json=as_json)


@groups.command()
@click.argument("title", metavar="GROUP")
@click.argument("names", metavar="NAME", nargs=-1, required=True)
@click.pass_obj
def invite(session: Session, title: str, names: tuple[str, ...]) -> None:
    """Add or invite people to a group; admins only.

    \b
    Example:
      kith groups invite Hiking Eve
    """
    with messaging(session) as context:
        group = find_group(context.kith, title)
        account_ids = [context.account(name) for name in names]
        _show(context, context.kith.invite(group.id, group.version, account_ids), as_json=False)


@groups.command()
@click.argument("title", metavar="GROUP")
@click.argument("name")
@click.pass_obj
def remove(session: Session, title: str, name: str) -> None:
    """Remove somebody from a group; admins only.

    \b
    Example:
      kith groups remove Hiking Eve
    """
    with messaging(session) as context:
        group = find_group(context.kith, title)
        account_id = context.account(name)
        _show(
            context, context.kith.remove_member(group.id, group.version, account_id), as_json=False
        )


@groups.command()
@click.argument("title", metavar="GROUP")
@click.pass_obj
def join(session: Session, title: str) -> None:
    """Accept the invitation to a group.

    \b
    Example:
      kith groups join Hiking
    """
    with messaging(session) as context:
        group = find_group(context.kith, title)
        _show(context, context.kith.accept_invitation(group.id), as_json=False)


@groups.command()
@click.argument("title", metavar="GROUP")
@click.pass_obj
def leave(session: Session, title: str) -> None:
    """Leave a group, or decline the invitation to it.

    \b
    Example:
      kith groups leave Hiking
    """
    kith, credentials = session.signed_in()
    with kith:
        kith.leave_group(find_group(kith, title).id, credentials.account_id)
    click.echo("You are not in it any more.")


def find_group(kith: Kith, title: str) -> GroupSummary:
    """Return the group with a name or an id; raise Failure."""
    everything = list(all_groups(kith))
    found = [group for group in everything if group.id == title] or [
        group for group in everything if group.name.casefold() == title.casefold()
    ]
    if not found:
        raise Failure(f"You are in no group {title}.", hint="See: kith groups", exit_code=REFUSED)
    if len(found) > 1:
        ids = ", ".join(group.id for group in found)
        raise Failure(
            f"{len(found)} groups are called {title}: {ids}.",
            hint="Give the id.",
            exit_code=REFUSED,
        )
    return found[0]


def _show(context: Messaging, group: Group, *, as_json: bool) -> None:
    if as_json:
        print_json(group)
        return
    click.echo(f"{group.name}  {group.id}")
    print_table(
        ("", "STATE", "ROLE", "ACCOUNT"),
        [
            (context.label(one.account_id), one.state, one.role, one.account_id)
            for one in group.members
        ],
    )
