"""What `kith register` signs when this machine was a device of the number before, so that the device
keeps its id and what waits for it.
"""

import time

import click

from kith.api.verification import DeviceRecovery
from kith.commands.messaging import open_store, store_path
from kith.commands.output import note
from kith.commands.session import Session
from kith.messaging.keys import OwnKeys
from kith.messaging.vault import StoreBroken, StoreLocked
from kith.models import Verification


def recovery_of(session: Session, verified: Verification) -> DeviceRecovery | None:
    """Return what brings this machine's device of the same number back; None where there was none.

    Ask before going on without it when the keys are here and cannot be opened: what waits for the
    device is deleted then.
    """
    present = session.present_here()
    if present is None or present.phone_number != verified.phone_number:
        return None
    if not store_path(present).exists():
        return None
    try:
        with open_store(session.file, present) as store:
            return OwnKeys(store, time.time).recovery(present.device_id, verified.id)
    except (StoreBroken, StoreLocked) as error:
        note(str(error))
    click.confirm(
        "Go on without the keys of this device? What waits for it at the server is lost then.",
        abort=True,
        err=True,
    )
    return None
