"""kill -9 of the real server, twenty times, while messages are written, delivered and acknowledged."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from bench.people import settle
from tests.crash.correspondence import PATIENCE, Killed, Life, Reader, Writer
from tests.server import RunningServer, running_server
from tests.sockets import JSON, MSGPACK

KILLS = 20
#: Seconds after its first answer in which the server is killed.
MAX_LIFETIME = 0.6
NO_LIMITS = dict.fromkeys(
    (
        "KITH_MESSAGES_PER_MINUTE",
        "KITH_MESSAGES_TO_RECIPIENT_PER_MINUTE",
        "KITH_MESSAGES_TO_NEW_RECIPIENT_PER_DAY",
    ),
    "1000000000",
)


class Correspondence:
    """Three who write, one of them without a socket, to somebody with two devices and somebody with one."""

    def __init__(self, database_url: str) -> None:
        *writing, self.ben, carla = settle(database_url, 5)
        self.devices = [[self.ben], [carla]]
        self.writers = [Writer(device, self.devices, n) for n, device in enumerate(writing)]
        self.readers = [Reader(self.ben, 1), Reader(carla, 2)]

    def link(self, server: RunningServer) -> None:
        """Give Ben his second device, to whom messages come over the other kind of socket."""
        with httpx.Client(base_url=server.base_url) as client:
            headers = {"Authorization": f"Bearer {self.ben.token}"}
            code = client.post("/v1/device-links", headers=headers).json()["link_code"]
            redeeming = {"link_code": code, "device": {}}
            joined = client.post("/v1/device-links/redeem", json=redeeming).json()
        second = replace(
            self.ben, device_id=UUID(joined["device_id"]), token=joined["device_token"]
        )
        self.devices[0].append(second)
        self.readers.append(Reader(second, 3))

    def live(self, server: RunningServer, seconds: float) -> None:
        """Have everybody write and read until the server is killed, so long after its first answer."""
        life = Life(server.address)
        with ThreadPoolExecutor() as pool:
            jobs = [pool.submit(job, life) for job in self._writing() + self._reading()]
            begun = life.begun.wait(PATIENCE)
            life.killed.wait(seconds)
            life.killed.set()
            server.kill()
        for job in jobs:
            with suppress(Killed):
                job.result()
        assert begun, "nothing was answered"

    def end(self, server: RunningServer) -> None:
        """Have everybody write what was not answered, and then read all there is."""
        life = Life(server.address, is_last=True)
        with ThreadPoolExecutor() as pool:
            for jobs in (self._writing(), self._reading()):
                for job in [pool.submit(job, life) for job in jobs]:
                    job.result()

    def _writing(self) -> list[Callable[[Life], None]]:
        one, other, last = self.writers
        return [
            lambda life: one.write_by_socket(life, JSON),
            lambda life: other.write_by_socket(life, MSGPACK),
            last.write_by_http,
        ]

    def _reading(self) -> list[Callable[[Life], None]]:
        phone, carla, laptop = self.readers
        return [
            lambda life: phone.read_by_socket(life, JSON),
            lambda life: laptop.read_by_socket(life, MSGPACK),
            carla.read_by_polling,
        ]


@pytest.mark.slow
def test_messages_outlive_kills(database_url: str, tmp_path: Path) -> None:
    """What was accepted arrives once, in order, on each device; nothing acknowledged comes again."""
    chance = random.Random()
    log = tmp_path / "server.log"
    people = Correspondence(database_url)
    environment = NO_LIMITS | {"KITH_DATA_DIR": str(tmp_path), "KITH_DATABASE_URL": database_url}
    for life in range(KILLS + 1):
        with running_server(environment, log) as server:
            if life == 0:
                people.link(server)
            if life < KILLS:
                people.live(server, chance.uniform(0, MAX_LIFETIME))
            else:
                people.end(server)
    for reader in people.readers:
        _judge(reader, people.writers)
    # Each life had messages under way when it ended.
    assert sum(writer.unanswered for writer in people.writers) >= KILLS
    assert "Traceback" not in log.read_text()


def _judge(reader: Reader, writers: Sequence[Writer]) -> None:
    """All that was written to a device came to it, once, under the id that was answered."""
    delivered = [text for _, text in reader.delivered]
    ids = {text: message_id for message_id, text in reader.delivered}
    assert len(ids) == len(delivered)
    for writer in writers:
        numbers = [n for n, devices in enumerate(writer.written) if reader.device in devices]
        texts = [writer.text(number) for number in numbers]
        # In the order in which they were written.
        assert [text for text in delivered if text.startswith(writer.prefix)] == texts
        assert [ids[text] for text in texts] == [writer.accepted[number] for number in numbers]
