"""Connections that end too early, and bodies without a length, at the real web server."""

import json
import socket

import pytest

from billing.models import EventSource, UsageEvent
from marketplace.api.body import MAX_BYTES
from tests.api.cloudevent import event
from tests.api.served import served
from tests.billing.waiting import PATIENCE_SECONDS
from tests.marketplace.tenants import make_tenants
from tests.ports import free_port


@pytest.fixture
def house(fresh_database):
    tenants = make_tenants()
    port = free_port()
    with served(fresh_database.environment, port):
        yield port, tenants.north.token


def head(token, *headers, kind="-batch"):
    lines = [
        "POST /api/v1/events HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {token}",
        f"Content-Type: application/cloudevents{kind}+json",
        "Accept-Language: en",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunks(body, size=1000):
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)


def talk(port, sent, *, close=True):
    """Send, say that no more comes, and read to the end: status and body; None where the server only hung up."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(sent)
        if close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
            top, _, body = answer.partition(b"\r\n\r\n")
            length = [line for line in top.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            if length and len(body) >= int(length[0].split(b":")[1]):
                return int(top.split()[1]), json.loads(body) if body.startswith(b"{") else body
    return None


def stored():
    return UsageEvent.objects.exclude(source__name__startswith="meters of").count()


def test_bodies_that_are_cut_short_are_not_stored_not_even_where_what_came_is_whole(house):
    port, token = house
    one = json.dumps([event("a")]).encode()
    for body, length in ((one[:-10], len(one)), (one, len(one) + 1), (b"", len(one))):
        status, said = talk(port, head(token, f"Content-Length: {length}") + body)
        assert (status, said["type"]) == (400, "urn:suanli:problem:cut-short")
    for cut in (chunks(one), chunks(one)[:-20], chunks(one) + b"zz\r\n"):
        answer = talk(port, head(token, "Transfer-Encoding: chunked") + cut)
        assert answer is None or answer[0] == 400
    # A client that is gone before it could be answered.
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head(token, f"Content-Length: {len(one)}") + one[:50])
    assert (stored(), EventSource.objects.filter(name="aidc/earth").count()) == (0, 0)
    # The server goes on.
    status, said = talk(port, head(token, f"Content-Length: {len(one)}") + one)
    assert (status, said["counts"]["counted"], stored()) == (200, 1, 1)


def test_a_body_without_a_length_is_read_up_to_its_limit(house):
    port, token = house
    batch = json.dumps([event(f"{n}") for n in range(2000)]).encode()
    status, said = talk(port, head(token, "Transfer-Encoding: chunked") + chunks(batch) + b"0\r\n\r\n")
    assert (status, said["counts"]["counted"], stored()) == (200, 2000, 2000)
    endless = chunks(b" " * (MAX_BYTES + 70_000), 60_000) + b"0\r\n\r\n"
    status, said = talk(port, head(token, "Transfer-Encoding: chunked") + endless)
    assert (status, said["type"]) == (413, "urn:suanli:problem:too-large")


def test_a_body_of_5_mb_is_refused_by_its_length_before_it_is_read(house):
    port, token = house
    status, said = talk(port, head(token, "Content-Length: 5000000"), close=False)
    assert (status, said["type"], said["detail"].split(".")[0]) == (
        413,
        "urn:suanli:problem:too-large",
        "The body has 5000000 bytes",
    )
