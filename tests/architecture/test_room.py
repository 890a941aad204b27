"""Each transaction says whether it only adds, and is refused on a full disk, or is named here."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.databases import ROOT

PACKAGES = ("core", "sms", "tokens", "verification", "discovery", "messaging", "interop")
#: What makes room, ends what was begun, counts a guess or changes a row in its place.
GO_ON = """
core/maintenance.py: _batch _lease
core/idempotent_retries.py: wait
discovery/snapshot_builder.py: build
discovery/epochs.py: open
discovery/service.py: _pay assign_tier parameters
interop/matrix/accounts.py: _mark_used accept_terms log_out
interop/matrix/bindings.py: unbind
interop/matrix/server_keys.py: _count
interop/matrix/sessions.py: submit
messaging/contacts/service.py: forget
messaging/groups/service.py: accept leave remove rename set_role
messaging/keys/service.py: fetch
messaging/push/service.py: delete
messaging/push/waker.py: _record _schedule _send_due
messaging/mailbox/message_batch.py: commit
messaging/notifications/mailbox_poller.py: _mark_seen
sms/delivery.py: report
sms/outbox.py: send
sms/service.py: _fail_over
sms/smpp/messages.py: record_response record_receipt
tokens/accounts.py: delete set_discoverable
tokens/commands.py: devices_commands revoke
tokens/lock_changes.py: _store cancel_removal schedule_removal
tokens/registration_lock.py: _verify hash
tokens/devices.py: remove remove_others rename
tokens/service_tokens.py: authenticate revoke
tokens/device_tokens.py: _promote _refuse authenticate
verification/checks.py: check_code
verification/registration.py: _change_number
verification/sending.py: finish
verification/service.py: cancel
"""


def _transactions() -> Iterator[tuple[str, str, bool]]:
    """Give file, function and whether it only adds, of each transaction that writes."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield from _in(path)


def _in(path: Path) -> Iterator[tuple[str, str, bool]]:
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "write"
                and ast.unparse(node.func.value).endswith("database")
            ):
                adds = any(keyword.arg == "adds" for keyword in node.keywords)
                yield str(path.relative_to(ROOT)), function.name, adds


def test_each_transaction_says_whether_it_only_adds() -> None:
    """`write(adds=True)` where it does; what is neither that nor named here is undecided."""
    listed = {
        (path, name)
        for path, _, names in (line.partition(": ") for line in GO_ON.strip().splitlines())
        for name in names.split()
    }
    found = {(path, name) for path, name, adds in _transactions() if not adds}
    undecided = "say write(adds=True) if it only adds rows, or name it in GO_ON of this file"
    assert found - listed == set(), undecided
    assert listed - found == set(), "these are gone, or say adds=True by now"
