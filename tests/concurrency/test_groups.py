"""Groups under parallel requests, on real connections of both databases."""

from collections import Counter
from functools import partial
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from core.database import table
from core.problems import Problem
from core.rate_limits import add_to_windows
from messaging.groups.invitations import GroupQuota
from messaging.groups.membership import Role
from messaging.groups.models import Group, GroupMember, Membership
from messaging.groups.schemas import GroupAnswer, NewGroup
from messaging.limits import GROUP_INVITATIONS
from messaging.mailbox.models import Envelope
from messaging.message_types import GroupAtVersion, MessageSubmission, SharedContent
from tests.concurrency.test_mailbox import in_parallel
from tests.people import caller, put_in_touch, settle

THREADS = 12


@pytest.fixture
def kith(app):
    """The services, called without HTTP."""
    return app.extensions["kith"]


@pytest.fixture
def make(kith):
    """Make a group of somebody with others; give it."""

    def make(maker, *others, key=None):
        members = [UUID(other.account_id) for other in others]
        made = kith.messaging.groups.create(
            caller(maker), NewGroup(name="Family", members=members), key
        )
        return GroupAnswer.model_validate_json(made)

    return make


@pytest.fixture
def friends(kith):
    """Anna, and as many who accepted her as there are threads."""
    anna, *others = settle(kith, THREADS + 1)
    put_in_touch(kith, others, anna)
    return anna, others


def codes(answers):
    """Count how jobs ended."""
    return Counter(answer.code if isinstance(answer, Problem) else "done" for answer in answers)


def rows(kith, model):
    """Count the rows of a table."""
    with kith.runtime.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table(model)))


def test_of_changes_for_one_version_exactly_one_wins(kith, friends, make):
    """40 admins' changes of all kinds at once: the losers are told the version that won."""
    anna, others = friends
    group = make(anna, *others)
    change = kith.messaging.groups
    jobs = [
        job
        for number in range(10)
        for member in [UUID(others[number].account_id)]
        for job in (
            partial(change.rename, caller(anna), group.id, 1, f"name {number}"),
            partial(change.set_role, caller(anna), group.id, 1, member, Role.ADMIN),
            partial(change.remove, caller(anna), group.id, 1, member),
            partial(change.invite, caller(anna), group.id, 1, [member]),
        )
    ]
    answers = in_parallel(*jobs)
    assert codes(answers) == {"done": 1, "group-changed": 39}
    assert {answer.members["version"] for answer in answers if isinstance(answer, Problem)} == {2}
    (done,) = (answer for answer in answers if not isinstance(answer, Problem))
    assert kith.messaging.groups.get(caller(anna), group.id) == done


def test_last_admins_that_leave_at_once_leave_an_admin(kith, friends, make):
    """Whoever is left has exactly the admins that are needed."""
    anna, others = friends
    group = make(anna, *others)
    admins = [anna, *others[:3]]
    for version, admin in enumerate(admins[1:], 1):
        member = UUID(admin.account_id)
        kith.messaging.groups.set_role(caller(anna), group.id, version, member, Role.ADMIN)
    in_parallel(
        *[partial(kith.messaging.groups.leave, caller(admin), group.id) for admin in admins]
    )
    after = kith.messaging.groups.get(caller(others[3]), group.id)
    assert after.version == 8
    roles = Counter(member.role for member in after.members.values())
    assert roles == {Role.ADMIN: 1, Role.MEMBER: 8}


def test_when_all_leave_at_once_nothing_stays(kith, friends, make):
    """The last one takes the group with it, whichever that is."""
    anna, others = friends
    group = make(anna, *others)
    everybody = [anna, *others]
    in_parallel(*[partial(kith.messaging.groups.leave, caller(who), group.id) for who in everybody])
    assert [rows(kith, model) for model in (Group, GroupMember, Membership)] == [0, 0, 0]


def test_parallel_invitations_never_overfill_a_group(kith, friends, make, monkeypatch):
    """Each names the version it was told last; so many get in as there is room."""
    monkeypatch.setattr(kith.messaging.groups, "max_members", 6)
    anna, others = friends
    group = make(anna)

    def invite(other):
        version = 1
        while True:
            try:
                return kith.messaging.groups.invite(
                    caller(anna), group.id, version, [UUID(other.account_id)]
                )
            except Problem as problem:
                if problem.code != "group-changed":
                    return problem
                version = problem.members["version"]

    answers = in_parallel(*[partial(invite, other) for other in others])
    assert codes(answers) == {"done": 5, "group-full": THREADS - 5}
    assert len(kith.messaging.groups.get(caller(anna), group.id).members) == 6


def test_parallel_invitations_of_strangers_are_counted(kith, make):
    """An account invites exactly as many as a day holds, whatever it makes at once."""
    anna, *strangers = settle(kith, 2 * THREADS + 1)
    now = kith.runtime.clock()
    spent = GROUP_INVITATIONS.charge(caller(anna).subject, GROUP_INVITATIONS.quota - 5, now)
    with kith.runtime.database.write() as connection:
        add_to_windows(connection, [spent], now)
    pairs = zip(strangers[::2], strangers[1::2], strict=True)
    answers = in_parallel(*[partial(make, anna, *pair) for pair in pairs])
    assert codes(answers) == {"done": 2, "group-rate-limited": THREADS - 2}
    assert rows(kith, Group) == 2


def test_parallel_groups_never_overfill_an_account(kith, make, monkeypatch):
    """Somebody whom all of them may add joins as many groups as she may, and is invited to the rest."""
    monkeypatch.setattr(kith.messaging.groups, "quota", GroupQuota(joined=3))
    dora, *makers = settle(kith, THREADS + 1)
    for maker in makers:
        put_in_touch(kith, [dora], maker)
    made = in_parallel(*[partial(make, maker, dora) for maker in makers])
    states = Counter(group.members[-1].state for group in made)
    states += Counter(group.members[0].state for group in made)
    assert states == {"joined": THREADS + 3, "invited": THREADS - 3}


def test_one_key_makes_one_group(kith, friends, make):
    """Requests with the same key at once all get the same group."""
    anna, others = friends
    answers = in_parallel(*[partial(make, anna, *others, key="once")] * THREADS)
    assert len({answer.id for answer in answers}) == 1
    assert rows(kith, Group) == 1


def send(kith, sender, group, found):
    """Send one content to a group as somebody knows it."""
    return kith.messaging.messages.send(
        MessageSubmission(
            UUID(sender.account_id),
            UUID(sender.device_id),
            uuid4().hex,
            GroupAtVersion(group.id, found.version),
            SharedContent(b"hello", found.digest),
            urgent=False,
            expires_in=60,
        )
    )


def test_a_message_is_before_a_removal_or_after_it(kith, friends, make):
    """The removed member has exactly the messages that were accepted, for all the others are refused."""
    anna, others = friends
    ben, *senders = others
    group = make(anna, *others)
    known = {
        sender.device_id: kith.messaging.groups.devices(caller(sender), group.id)
        for sender in senders
    }

    def write(sender):
        found = known[sender.device_id]
        answers = []
        for _ in range(10):
            try:
                answers.append(send(kith, sender, group, found))
            except Problem as problem:
                answers.append(problem)
        return answers

    def remove():
        return kith.messaging.groups.remove(caller(anna), group.id, 1, UUID(ben.account_id))

    *written, _ = in_parallel(*[partial(write, sender) for sender in senders], remove)
    ended = codes([answer for answers in written for answer in answers])
    assert ended.keys() <= {"done", "group-changed"}
    with kith.runtime.database.read() as connection:
        received = connection.scalars(
            select(table(Envelope).c.group_version).where(
                table(Envelope).c.device_id == UUID(ben.device_id)
            )
        ).all()
    assert received == [1] * ended["done"]


def test_accounts_that_are_deleted_meanwhile_are_in_no_group(kith, friends, make):
    """Invited, written to and deleted at once, they leave nothing, and nobody waits for ever."""
    anna, others = friends
    leaving, staying = others[: THREADS // 2], others[THREADS // 2 :]
    group = make(anna, *others)
    found = kith.messaging.groups.devices(caller(anna), group.id)
    answers = in_parallel(
        *[partial(kith.tokens.accounts.delete, caller(who)) for who in leaving],
        *[partial(make, who, anna) for who in staying],
        *[partial(make, anna, *others) for _ in range(3)],
        *[partial(send, kith, anna, group, found) for _ in range(3)],
    )
    assert codes(answers).keys() <= {
        "done",
        "accounts-unknown",
        "group-changed",
        "devices-mismatched",
    }
    gone = [UUID(who.account_id) for who in leaving]
    with kith.runtime.database.read() as connection:
        for model in (GroupMember, Membership):
            columns = table(model).c
            assert not connection.execute(
                select(columns.group_id).where(columns.account_id.in_(gone))
            ).all()
    assert kith.messaging.groups.get(caller(anna), group.id).version == 1 + len(leaving)
