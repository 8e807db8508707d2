"""The OpenAPI document: valid, without a warning, public, and saying of every operation what it may answer."""

import io
import re

import pytest
from django.core.management import call_command
from django.test import Client

from marketplace.api import openapi

WRITES = ("post", "patch")
FILES = {
    "/api/v1/evidence/{id}/file": ["application/pdf", "image/png", "image/jpeg"],
    "/api/v1/invoices/{number}/files/{name}": [
        "application/json",
        "application/pdf",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "text/csv",
    ],
}
NEVER_KEPT = "/api/v1/reservations/{id}/access"  # its answer, told once


@pytest.fixture(scope="module")
def document():
    return openapi.document()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_it_is_valid_and_made_without_a_warning(tmp_path):
    errors = io.StringIO()
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "api.yml"), stderr=errors)
    assert errors.getvalue() == ""


def test_everybody_may_read_it(db):
    answer = Client().get("/api/v1/openapi.json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    document = answer.json()
    assert document["openapi"] == "3.1.1"
    assert document["info"]["title"] == "Suanli API"
    assert document["info"]["version"] == "1.0"
    assert document["servers"] == [{"url": "http://127.0.0.1:8000"}]
    for word in ("RFC 9457", "Idempotency-Key", "`next`", "Retry-After", "`limit`"):
        assert word in document["info"]["description"]


def test_it_is_the_same_in_every_language(db):
    answers = {
        Client().get("/api/v1/openapi.json", headers={"Accept-Language": each}).content for each in ("en", "zh-hans")
    }
    assert len(answers) == 1


def test_it_is_only_read(db):
    answer = Client().post("/api/v1/openapi.json", headers={"Accept-Language": "en"})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_every_operation_says_its_problems_and_its_key(document):
    for path, method, operation in operations(document):
        named = f"{method} {path}"
        assert operation["summary"], named
        assert operation["security"] == [{"key": []}], named
        [good] = [status for status in operation["responses"] if status < "400"]
        assert good in ("200", "201"), named
        assert list(operation["responses"][good]["content"]) == FILES.get(path, ["application/json"]), named
        for status in ("400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "429", "503"):
            content = operation["responses"][status]["content"]
            assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemShape"}}}


def test_every_write_but_the_one_that_tells_a_secret_takes_an_idempotency_key_and_no_read_does(document):
    for path, method, operation in operations(document):
        names = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "header"}
        is_kept = method in WRITES and path != NEVER_KEPT
        assert names == ({"Idempotency-Key"} if is_kept else set()), path


def test_ids_of_operations_are_told_once(document):
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids)) == 129


@pytest.mark.parametrize("path", ["/api/", "/api/v1/", "/api/v1/nothing", "/api/v2/quotes", "/api/v1/quotes/"])
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_other_addresses_are_a_problem(db, path, language):
    answer = Client().get(path, headers={"Accept-Language": language})
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["type"] == "urn:suanli:problem:not-found"
    assert bool(re.search("[\u4e00-\u9fff]", answer.json()["title"])) == (language == "zh-hans")
