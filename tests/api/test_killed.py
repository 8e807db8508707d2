"""The server and the database are killed under load, 20 times: what was acknowledged is what is stored."""

import contextlib
import json
import os
import random
import signal
import threading
import time
from http.client import HTTPConnection, HTTPException

from tests.api.cloudevent import event
from tests.api.served import kill_group, python, served
from tests.billing.waiting import wait_for
from tests.ports import free_port

KILLS = 20
CLIENTS = 3
BATCH = 40

MAKE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.marketplace.tenants import make_tenants
print(make_tenants().north.token)
"""
STORED = """
import json
from billing.models import Reading, UsageEvent
events = UsageEvent.objects.filter(source__name="aidc/earth")
reading = Reading.objects.get(contract__number="sun-1")
print(json.dumps([list(events.values_list("event_id", flat=True)), reading.quantity]))
"""


class Client:
    """Sends batches, each again until it is acknowledged; `acknowledged` is its log."""

    def __init__(self, number, token):
        self.number, self.token = number, token
        self.acknowledged = []
        self.batches = 0
        self.pending = None

    def send_until(self, stop, port, settle):
        with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            while not stop.is_set() or self.pending:
                if self.pending is None:
                    self.pending = [f"{self.number}/{self.batches}/{n}" for n in range(BATCH)]
                    self.batches += 1
                try:
                    self.send(connection)
                except (OSError, HTTPException):
                    connection.close()
                    if stop.is_set() and not settle:
                        return
                    time.sleep(0.01)

    def send(self, connection):
        body = json.dumps([event(event_id, 1) for event_id in self.pending])
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/cloudevents-batch+json"}
        connection.request("POST", "/api/v1/events", body, headers)
        response = connection.getresponse()
        text = response.read()
        if response.status == 503:
            raise HTTPException(text)
        assert response.status == 200, (response.status, text)
        counts = json.loads(text)["counts"]
        assert counts["counted"] + counts["duplicate"] == BATCH, counts
        self.acknowledged += self.pending
        self.pending = None


def test_what_was_acknowledged_is_what_is_stored_after_20_kills_of_server_and_database(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "SECRET_KEY")}
    environment |= {"DATA_DIR": str(tmp_path), "PUBLIC_URL": "http://127.0.0.1", "LOG_LEVEL": "ERROR"}
    environment["DJANGO_SETTINGS_MODULE"] = "marketplace.settings"
    token = python(environment, MAKE).strip()
    clients = [Client(number, token) for number in range(CLIENTS)]
    chance = random.Random(20)
    before = 0
    for _ in range(KILLS):
        kill_under_load(environment, clients, tmp_path, chance)
        acknowledged = sum(len(client.acknowledged) for client in clients)
        assert acknowledged > before  # it was under load
        before = acknowledged
    with served(environment, port := free_port()):
        run(clients, port, lambda: None, settle=True)
        log = [event_id for client in clients for event_id in client.acknowledged]
        assert len(log) == sum(client.batches for client in clients) * BATCH
    stored, quantity = json.loads(python(environment, STORED))
    assert sorted(stored) == sorted(log)
    assert quantity == 480 + len(log) * 60


def kill_under_load(environment, clients, folder, chance):
    with served(environment, port := free_port()) as server:

        def kill():
            enough = sum(len(client.acknowledged) for client in clients) + 3 * BATCH
            wait_for(lambda: sum(len(client.acknowledged) for client in clients) >= enough)
            time.sleep(chance.uniform(0, 0.1))
            steps = [lambda: kill_group(server), lambda: kill_database(folder)]
            for step in chance.sample(steps, 2):
                step()
                time.sleep(chance.choice([0, 0.02]))

        run(clients, port, kill)


def run(clients, port, act, *, settle=False):
    """Send until `act` has returned; with `settle` until all that was sent is acknowledged."""
    stop = threading.Event()
    threads = [threading.Thread(target=client.send_until, args=(stop, port, settle)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        act()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def kill_database(folder):
    postmaster = int((folder / "postgresql" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    with contextlib.suppress(ProcessLookupError):
        os.kill(postmaster, signal.SIGKILL)
