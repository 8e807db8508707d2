"""Logs: what a record says, which request it belongs to, and what it never says."""

import io
import json
import logging
import logging.config
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import RequestFactory

from marketplace import environment, logs

BEARER = "suanli_0123456789ab_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCde"


@pytest.fixture
def written():
    """A logger of our own, and what it wrote in both forms."""
    logger = logging.getLogger("test of logs")
    logger.propagate, logger.handlers = False, []
    logger.setLevel(logging.DEBUG)
    streams = {"json": io.StringIO(), "line": io.StringIO()}
    for form, formatter in (("json", logs.JsonFormatter()), ("line", logs.LineFormatter())):
        handler = logging.StreamHandler(streams[form])
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    yield logger, streams
    logger.handlers = []


def only(stream):
    (line,) = stream.getvalue().splitlines()
    return line


# Secrets


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (f"Authorization: Bearer {BEARER}", "Authorization: [struck out]"),
        (f"headers {{'authorization': 'Bearer {BEARER}'}}", "headers {'authorization': [struck out]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: [struck out]"),
        ("Cookie: sessionid=abc; csrftoken=def", "Cookie: [struck out]"),
        ("Set-Cookie: sessionid=abc; HttpOnly", "Set-Cookie: [struck out]"),
        (f"the key {BEARER} was refused", "the key [struck out] was refused"),
        ("sent bearer abc.def", "sent [struck out]"),
        ("stripe sk_live_4eC39HqLyjW and rk_test_1", "stripe [struck out] and [struck out]"),
        ("hook whsec_MfKQ9r8GKYqrTwjUPD8", "hook [struck out]"),
        ("postgresql://suanli:hush@db:5432/x", "postgresql://[struck out]@db:5432/x"),
        ("redis://:hush@cache/0", "redis://[struck out]@cache/0"),
        ("password=hush&next=/", "password=[struck out]&next=/"),
        ('{"new_password": "hu sh", "name": "x"}', '{"new_password": [struck out], "name": "x"}'),
        ("GET /x?token=hush&page=2", "GET /x?token=[struck out]&page=2"),
        ("api_key: hush, then", "api_key: [struck out], then"),
        ("SECRET_KEY='hush'", "SECRET_KEY=[struck out]"),
        ("jwt eyJhbGciOi.eyJzdWIi.SflKxw end", "jwt [struck out] end"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY----- end", "[struck out] end"),
    ],
)
def test_a_secret_is_struck_out_and_the_rest_is_kept(said, kept):
    assert logs.redact(said) == kept


@pytest.mark.parametrize(
    "said",
    [
        "user 42 signed in",
        "GET /invoices/LG-2020-000001 200",
        "the key of contract C-earth is unknown",
        "https://suanli.example.com:8000/x?page=2",
        "close_period LG 2020-05",
        "2026-06-01T12:00:00+00:00",
    ],
)
def test_what_is_no_secret_stays(said):
    assert logs.redact(said) == said


def test_a_secret_does_not_get_through_by_message_argument_field_bound_field_or_traceback(written):
    logger, streams = written
    token = logs._bound.set({})
    try:
        logs.bind(api_key=BEARER, seen=f"with {BEARER}")
        try:
            raise ValueError(f"no such key {BEARER}")  # noqa: TRY301  - a traceback is wanted
        except ValueError:
            logger.exception(
                f"message {BEARER} and %s",  # noqa: G004
                f"argument {BEARER}",
                extra={
                    "headers": {"Authorization": f"Bearer {BEARER}", "Accept": "*/*"},
                    "listed": [f"Bearer {BEARER}"],
                    "password": "hush",
                },
            )
    finally:
        logs._bound.reset(token)
    for stream in streams.values():
        assert "suanli_" not in stream.getvalue()
        assert "hush" not in stream.getvalue()
    record = json.loads(only(streams["json"]))
    assert record["message"] == "message [struck out] and argument [struck out]"
    assert record["headers"] == {"Authorization": "[struck out]", "Accept": "*/*"}
    assert (record["api_key"], record["password"]) == ("[struck out]", "[struck out]")
    assert record["seen"] == "with [struck out]"
    assert record["exception"].endswith("ValueError: no such key [struck out]")


# Forms


def test_a_json_record_is_one_line_with_its_fields_and_its_traceback(written):
    logger, streams = written
    try:
        raise ValueError("an\nerror")  # noqa: TRY301  - a traceback is wanted
    except ValueError:
        logger.exception("第 %d\n行", 1, extra={"kind": "tidy", "amount": 1.5, "none": None, "at": {1}})
    record = json.loads(only(streams["json"]))
    assert {name: record[name] for name in ("level", "logger", "message", "kind", "amount", "none", "at")} == {
        "level": "ERROR",
        "logger": "test of logs",
        "message": "第 1\n行",
        "kind": "tidy",
        "amount": 1.5,
        "none": None,
        "at": "{1}",
    }
    assert record["exception"].splitlines()[-2:] == ["ValueError: an", "error"]
    assert record["time"].endswith("+00:00")


def test_a_field_can_not_pose_as_the_time_or_the_message(written):
    logger, streams = written
    logger.info("real", extra={"time": "never", "level": "NONE", "logger": "x"})
    record = json.loads(only(streams["json"]))
    assert (record["message"], record["level"], record["logger"]) == ("real", "INFO", "test of logs")
    assert record["time"] != "never"


def test_a_line_for_people_ends_with_its_fields_and_no_message_can_begin_another(written):
    logger, streams = written
    logger.info("path %s", "/x\n2026-01-01 00:00:00,000 INFO root: forged", extra={"kind": "a b", "key": "x\ny"})
    line = only(streams["line"])
    assert line.endswith(
        r' INFO test of logs: path /x\n2026-01-01 00:00:00,000 INFO root: forged kind="a b" key="x\ny"'
    )


@pytest.mark.parametrize("form", ["json", "line"])
def test_the_configuration_writes_to_standard_error_in_the_form_that_is_asked_for(form, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        logging.config.dictConfig(logs.configuration(form=form, level="WARNING"))
        logging.getLogger("marketplace.x").info("no")
        logging.getLogger("django.request").error("no: the request's own line says it")
        logging.getLogger("marketplace.x").warning("yes")
    finally:
        logging.root.handlers, logging.root.level = handlers, level
        logging.root.setLevel(level)
    line = only(stream)
    assert (json.loads(line)["message"] == "yes") if form == "json" else line.endswith("WARNING marketplace.x: yes")


def test_a_form_of_logs_that_there_is_not_is_refused():
    assert environment.log_format({}) == "line"
    assert environment.log_format({"LOG_FORMAT": "json"}) == "json"
    with pytest.raises(ImproperlyConfigured, match=r"^LOG_FORMAT='xml' is no form of logs: write line or json.$"):
        environment.log_format({"LOG_FORMAT": "xml"})


# Requests


class Person:
    def __init__(self, pk):
        self.pk = pk


def asked(caplog, path="/x", view=None, **headers):
    """What the middleware answers, and the fields of its record as JSON says them."""

    def answer(request):
        return HttpResponse("ok", status=202)

    caplog.clear()
    caplog.handler.setFormatter(logs.JsonFormatter())
    with caplog.at_level(logging.DEBUG, logger="marketplace.logs"):
        response = logs.middleware(view or answer)(RequestFactory().get(path, headers=headers))
    return response, [json.loads(line) for line in caplog.handler.stream.getvalue().splitlines()]


def test_a_request_is_logged_with_its_path_status_duration_and_an_id_that_the_answer_carries(caplog):
    response, (record,) = asked(caplog, "/x?token=hush", **{"X-Request-ID": "a.b-c_1"})
    assert response["X-Request-ID"] == "a.b-c_1"
    assert {name: record[name] for name in ("request_id", "method", "path", "status", "level")} == {
        "request_id": "a.b-c_1",
        "method": "GET",
        "path": "/x",
        "status": 202,
        "level": "INFO",
    }
    assert record["duration_ms"] >= 0
    assert "user" not in record


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "é", 'a"b', "a\tb", "../x/"])
def test_an_id_that_is_not_one_is_replaced(caplog, sent):
    response, (record,) = asked(caplog, **{"X-Request-ID": sent})
    assert response["X-Request-ID"] == record["request_id"] != sent
    assert len(record["request_id"]) == 32
    assert int(record["request_id"], 16) >= 0


def test_what_is_logged_on_the_way_carries_the_id_and_what_was_bound_and_the_next_request_does_not(caplog):
    def view(request):
        logs.bind(organization=7)
        logging.getLogger("marketplace.logs").info("on the way")
        request._cached_user = Person(42)
        return HttpResponse()

    _, (on_the_way, request) = asked(caplog, view=view, **{"X-Request-ID": "one"})
    assert (on_the_way["request_id"], on_the_way["organization"]) == ("one", 7)
    assert (request["request_id"], request["organization"], request["user"]) == ("one", 7, 42)
    assert logs._bound.get() == {}


def test_nobody_is_looked_up_for_the_log(caplog):
    def view(request):
        request._cached_user = Person(None)  # nobody signed in
        return HttpResponse()

    _, (record,) = asked(caplog, view=view)
    assert "user" not in record


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_what_machines_ask_every_few_seconds_is_logged_for_debugging_only(caplog, path):
    _, (record,) = asked(caplog, path)
    assert record["level"] == "DEBUG"


def test_the_first_middlewares_are_those_of_the_caller_logs_health_and_metrics(settings):
    assert settings.MIDDLEWARE[:4] == [
        "marketplace.web.caller.middleware",
        "marketplace.logs.middleware",
        "marketplace.web.health.middleware",
        "marketplace.metrics.middleware",
    ]
