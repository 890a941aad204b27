"""Rotation: a new salt takes over in one moment, and the one before answers until its end."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, insert, select, text, update

from core.database import table
from discovery.epochs import FILL_BATCH, GRACE_PERIOD
from discovery.models import DirectoryChange, DirectoryEntry, DiscoveryEpoch
from tests.api.discovery.conftest import BEN, CARLA, hash_number, made_up
from tests.conftest import problem_code
from tokens.models import Account


@pytest.fixture
def kith(app):
    """The services behind HTTP."""
    return app.extensions["kith"]


@pytest.fixture
def fetch(client, anna):
    """Fetch the parameters as Anna."""
    return lambda: client.get("/v1/discovery/parameters", headers=anna.headers).json


def rotate(kith):
    """Rotate, from the announcement to the switch."""
    kith.discovery.rotation.announce()
    for _ in kith.discovery.updater.rotate():
        pass


def people(kith, count):
    """Make accounts past the service, as if they had registered long ago."""
    now = kith.runtime.clock()
    with kith.runtime.database.write() as connection:
        connection.execute(
            insert(table(Account)),
            [
                {
                    "id": UUID(int=n << 64, version=4),
                    "e164": f"+49151{n:08d}",
                    "discoverable": n % 10 != 0,
                    "created_at": now,
                    "last_seen_at": now,
                }
                for n in range(1, count + 1)
            ],
        )


def matched(response):
    """Give the accounts that were found."""
    assert response.status_code == 200, response.text
    return set(response.json["matches"].values())


def test_both_epochs_answer_until_the_old_ones_end(kith, fetch, look_up, register, clock):
    """Clients have the announced time to hash anew; after it the old hashes are refused."""
    ben, old = register(BEN), fetch()
    rotate(kith)
    new = fetch()
    assert new["epoch"] != old["epoch"]
    assert new["salt"] != old["salt"]
    assert new["expires_at"] is None
    assert (new["previous"]["epoch"], new["previous"]["salt"]) == (old["epoch"], old["salt"])
    carla = register(CARLA)
    for parameters in (old, new):
        hashes = [hash_number(n, parameters["salt"]) for n in (BEN, CARLA)]
        found = look_up(hashes, epoch=parameters["epoch"])
        assert matched(found) == {ben.account_id, carla.account_id}
    clock.advance(days=7, seconds=-1)
    assert look_up([], epoch=old["epoch"]).status_code == 200
    clock.advance(1)
    gone = look_up([], epoch=old["epoch"])
    assert (gone.status_code, problem_code(gone)) == (409, "epoch-unknown")
    assert fetch()["previous"] is None


def test_until_the_switch_only_the_old_epoch_answers(kith, fetch, look_up, register):
    """While the new one is announced and filled nobody hears of it; then all do at once."""
    ben, old = register(BEN), fetch()
    announced = kith.discovery.rotation.announce()
    assert kith.discovery.rotation.announce() == announced
    for _ in range(3):
        assert fetch() | {"budget": old["budget"]} == old
        refused = look_up([hash_number(BEN, announced.salt)], epoch=announced.id)
        assert problem_code(refused) == "epoch-unknown"
        assert matched(look_up([hash_number(BEN, old["salt"])])) == {ben.account_id}
        kith.discovery.rotation.fill()
    assert kith.discovery.rotation.pending().state == "filled"
    kith.discovery.rotation.open()
    found = look_up([hash_number(BEN, announced.salt)], epoch=announced.id)
    assert matched(found) == {ben.account_id}
    assert kith.discovery.rotation.pending() is None


def test_whoever_changes_while_it_is_filled_is_right_in_it(kith, client, fetch, look_up, register):
    """People who come, go or hide between two batches are in the new epoch as they are then."""
    people(kith, 2 * FILL_BATCH)
    ben, carla = register(BEN), register(CARLA)
    announced = kith.discovery.rotation.announce()
    assert kith.discovery.rotation.fill() == FILL_BATCH
    client.delete("/v1/account", headers=ben.headers)
    client.patch("/v1/account", json={"discoverable": False}, headers=carla.headers)
    late = register("+4915112345699")
    while kith.discovery.rotation.pending().state == "announced":
        kith.discovery.rotation.fill()
    client.patch("/v1/account", json={"discoverable": True}, headers=carla.headers)
    kith.discovery.rotation.open()
    assert fetch()["epoch"] == announced.id
    asked = [hash_number(n, announced.salt) for n in (BEN, CARLA, "+4915112345699")]
    found = matched(look_up(asked, epoch=announced.id))
    assert found == {carla.account_id, late.account_id}
    with kith.runtime.database.read() as connection:
        count = select(func.count()).select_from(DirectoryEntry)
        # Nine of ten made-up people want to be found, and Anna, Carla and the late one.
        expected = 2 * FILL_BATCH * 9 // 10 + 3
        assert connection.scalar(count.where(DirectoryEntry.epoch == 2)) == expected


def test_a_new_epoch_is_re_evaluated_free_of_charge(kith, fetch, look_up):
    """Old tokens prove nothing in it, but as many hashes as were paid for cost nothing."""
    token = look_up(made_up(1_000)).json["sync_token"]
    rotate(kith)
    epoch = fetch()["epoch"]
    again = look_up(known=made_up(1_000, 5_000), sync_token=token, epoch=epoch)
    assert again.json["budget"]["left"] == 1_500
    assert look_up(made_up(10, 9_000), epoch=epoch).json["budget"]["left"] == 1_490


def test_an_epoch_that_is_over_goes_with_its_entries(kith, fetch, look_up, register, clock):
    """The periodic work removes it; files of it go too, and the new one is whole."""
    ben, old = register(BEN), fetch()
    rotate(kith)
    clock.advance(days=7)
    kith.maintenance.run()
    assert len(list(kith.settings.data_dir.glob("discovery/*.snapshot"))) >= 1
    clock.advance(GRACE_PERIOD.total_seconds() + 1)
    assert kith.maintenance.run()["ended epochs"] == 0
    register(CARLA)
    assert kith.maintenance.run()["ended epochs"] == 2
    with kith.runtime.database.read() as connection:
        assert connection.scalars(select(DiscoveryEpoch.number)).all() == [2]
        entries = select(DirectoryEntry.epoch, func.count()).group_by(DirectoryEntry.epoch)
        assert [tuple(row) for row in connection.execute(entries)] == [(2, 3)]
    kith.discovery.updater.update()
    assert not list(kith.settings.data_dir.glob(f"discovery/{old['epoch']}*"))
    new = fetch()
    assert matched(look_up([hash_number(BEN, new["salt"])], epoch=new["epoch"])) == {ben.account_id}


@pytest.mark.parametrize("app", ["table"], indirect=True)
@pytest.mark.slow
def test_it_rotates_by_itself_when_it_is_time(make_app, clock, anna):
    """With a number of days set, the server begins the next epoch after them."""
    kith = make_app(epoch_days=30).extensions["kith"]
    first, _ = kith.discovery.service.parameters()
    kith.discovery.updater.update()
    clock.advance(days=30, seconds=-1)
    kith.discovery.updater.update()
    assert kith.discovery.service.parameters() == (first, None)
    clock.advance(1)
    kith.discovery.updater.update()
    current, previous = kith.discovery.service.parameters()
    assert (current.number, previous.id) == (2, first.id)
    assert previous.expires_at == clock() + timedelta(days=7)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_each_change_of_a_listing_has_written_before_it_reads_the_epochs(client, kith, register):
    """A rotation waits for transactions that PostgreSQL counts; one that had only read it would not."""
    transactions = []
    told = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"
    kith.tokens.events.listing_changed.insert(
        0, lambda connection, *_: transactions.append(connection.scalar(text(told)))
    )
    ben = register(BEN)
    client.patch("/v1/account", json={"discoverable": False}, headers=ben.headers)
    client.patch("/v1/account", json={"discoverable": True}, headers=ben.headers)
    client.delete("/v1/account", headers=ben.headers)
    assert transactions == [True] * 4


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_filling_waits_for_transactions_that_began_before(kith, register):
    """One that does not know the new epoch yet must end before the accounts are read."""
    register(BEN)
    with kith.runtime.database.engine.connect() as other:
        other.begin()
        other.execute(update(Account).values(last_seen_at=kith.runtime.clock()))
        kith.discovery.rotation.announce()
        assert kith.discovery.rotation.fill() == 0
        assert kith.discovery.rotation.pending().cursor is None
        other.rollback()
    assert kith.discovery.rotation.fill() == 1


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_filling_does_not_wait_long_for_an_account_that_is_held(kith, register):
    """Somebody who holds an account may want another that filling holds: filling gives way."""
    ben = register(BEN)
    kith.discovery.rotation.announce()
    with kith.runtime.database.engine.connect() as other:
        other.begin()
        held = select(Account.id).where(Account.id == UUID(ben.account_id)).with_for_update()
        other.execute(held)
        assert kith.discovery.rotation.fill() == 0
        other.rollback()
    assert kith.discovery.rotation.fill() == 1


def test_the_log_tells_every_epoch(kith, register):
    """A change while two epochs live is in the log of both."""
    rotate(kith)
    register(BEN)
    with kith.runtime.database.read() as connection:
        change = table(DirectoryChange).c
        rows = connection.execute(select(change.epoch).where(change.account_id.is_not(None)))
        assert sorted(rows.scalars()) == [1, 2]
