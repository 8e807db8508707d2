import json
from json import dumps

import pytest

from marketplace.api.events import BATCH, ONE
from tests.api.world import AT, make_world
from tests.marketplace.tenants import make_tenants


@pytest.fixture
def tenants(db):
    return make_tenants()


@pytest.fixture
def post(client, tenants):
    """Post a body with north's key: bytes as they are, an object as one event, a list as a batch."""

    def post(body, *, token=None, content_type=None, **headers):
        if content_type is None:
            content_type = BATCH if isinstance(body, list) else ONE
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        authorization = {"Authorization": f"Bearer {tenants.north.token if token is None else token}"}
        return client.post(
            "/api/v1/events",
            data,
            content_type=content_type,
            headers={"Accept-Language": "en"} | authorization | headers,
            secure=True,
        )

    return post


@pytest.fixture
def world(db):
    return make_world()


@pytest.fixture
def now(monkeypatch):
    """The views' clock: AT, or what `now(at)` sets."""

    def now(at):
        monkeypatch.setattr("django.utils.timezone.now", lambda: at)

    now(AT)
    return now


@pytest.fixture
def ask(client, now):
    """Ask the API with a tenant's key, at AT: `ask(tenant, "get", "quotes", limit=1)`, a body by `json=`."""

    def ask(who, method, path, *, json=None, raw=None, headers=(), **query):
        token = who if isinstance(who, str) else who.token
        address = path if path.startswith("/") else f"/api/v1/{path}"
        options = {"headers": {"Accept-Language": "en", "Authorization": f"Bearer {token}", **dict(headers)}}
        if method != "get":  # Django's client would send a form
            data = raw if raw is not None else b"" if json is None else dumps(json)
            options |= {"content_type": "application/json"} | {"data": data}
        return getattr(client, method)(address, query_params=query or None, **options)

    return ask
