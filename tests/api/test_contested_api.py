"""What a buyer objects to, and what its firm claims by itself, over the API."""

import pytest

from billing.models import Claim, Dispute
from marketplace.models import ApiKey
from tests.api.test_billed_api import refusal
from tests.api.world import make_bills, make_owed


@pytest.fixture
def sun(world):
    """Its invoice of April: 64.00 and 3.84 of VAT."""
    make_bills(world)
    return world.sun


def test_all_of_an_invoice_is_disputed_in_one_request_and_taken_back_in_one(ask, sun):
    [number] = sun.ids["invoices"]
    sent = {"invoice": number, "reason": "It did not run."}
    answer = ask(sun, "post", "disputes", json=sent, headers={"Idempotency-Key": "1"})
    [told] = answer.json()["disputes"]
    assert (answer.status_code, told["invoice"], told["line"], told["state"]) == (201, number, 1, "open")
    assert (told["net_minor"], told["held_minor"], told["note"], told["answer"]) == (6_400, 6_784, None, "")
    assert ask(sun, "post", "disputes", json=sent, headers={"Idempotency-Key": "1"}).json() == answer.json()
    assert Dispute.objects.get().opened_by.startswith("key:suanli_")
    assert [row["id"] for row in ask(sun, "get", "disputes", invoice=number, state="open").json()["results"]] == [
        told["id"]
    ]
    other = sent | {"reason": "For another reason."}
    assert refusal(ask(sun, "post", "disputes", json=other)) == (422, "unusable", None)
    assert refusal(ask(sun, "post", "disputes", json=other | {"line": 1})) == (409, "dispute-differs", None)
    back = ask(sun, "post", "disputes/withdrawals", json={"invoice": number})
    assert [(row["id"], row["state"]) for row in back.json()["disputes"]] == [(told["id"], "withdrawn")]
    assert ask(sun, "post", "disputes/withdrawals", json={"invoice": number}).json() == {"disputes": []}


def test_a_part_of_a_line_is_disputed_and_taken_back(ask, sun):
    [number] = sun.ids["invoices"]
    sent = {"invoice": number, "line": 1, "net_minor": 3_200, "reason": "Half of it."}
    [told] = ask(sun, "post", "disputes", json=sent).json()["disputes"]
    assert (told["net_minor"], told["held_minor"]) == (3_200, 3_392)
    assert ask(sun, "get", f"disputes/{told['id']}").json() == told
    assert ask(sun, "post", f"disputes/{told['id']}/withdraw").json()["state"] == "withdrawn"
    assert ask(sun, "post", f"disputes/{told['id']}/withdraw").status_code == 200
    assert refusal(ask(sun, "post", "disputes", json=sent | {"net_minor": 6_401})) == (422, "unusable", "net_minor")
    assert ask(sun, "post", "disputes", json=sent | {"line": 2}).status_code == 404
    of_no_line = {"invoice": number, "net_minor": 100, "reason": "x"}
    assert refusal(ask(sun, "post", "disputes", json=of_no_line)) == (422, "unusable", "net_minor")
    assert refusal(ask(sun, "post", "disputes", json=of_no_line | {"line": None})) == (422, "unusable", "net_minor")
    assert not Dispute.objects.filter(state="open").exists()
    assert refusal(ask(sun, "post", "disputes", json={"invoice": number})) == (422, "unusable", "reason")


def test_what_is_anothers_is_not_disputed(ask, world, sun):
    [number] = sun.ids["invoices"]
    for sent, path in (({"invoice": number, "reason": "x"}, "disputes"), ({"invoice": number}, "disputes/withdrawals")):
        for tenant in (world.moon, world.north):
            assert ask(tenant, "post", path, json=sent).status_code == 404
    told = ask(sun, "post", "disputes", json={"invoice": number, "reason": "x"}).json()["disputes"][0]
    for tenant in (world.moon, world.north):
        assert ask(tenant, "get", f"disputes/{told['id']}").status_code == 404
        assert ask(tenant, "post", f"disputes/{told['id']}/withdraw").status_code == 404
        assert ask(tenant, "get", "disputes").json()["results"] == []
    assert Dispute.objects.get().state == "open"


@pytest.fixture
def owed(world, sun):
    make_owed(world)


CLAIM = {"programme": "sun-30", "from_month": "2020-05", "until_month": "2020-05"}


def test_a_firm_claims_and_says_what_became_of_it(ask, sun, owed):
    answer = ask(sun, "post", "claims", json=CLAIM)
    told = answer.json()
    assert (answer.status_code, told["state"], told["programme"], told["paid_minor"]) == (201, "draft", "sun-30", None)
    amount_minor = told["amount_minor"]
    path = f"claims/{told['id']}"
    assert ask(sun, "post", "claims", json=CLAIM).json() == told
    assert refusal(ask(sun, "post", f"{path}/settle", json={"paid_minor": 1, "reason": "x"})) == (
        409,
        "wrong-state",
        None,
    )
    for step, state in (("submit", "submitted"), ("take-back", "draft"), ("submit", "submitted")):
        assert ask(sun, "post", f"{path}/{step}").json()["state"] == state
    assert refusal(ask(sun, "post", f"{path}/settle", json={"paid_minor": amount_minor + 1})) == (
        422,
        "unusable",
        "paid_minor",
    )
    assert refusal(ask(sun, "post", f"{path}/settle", json={"paid_minor": 1})) == (422, "unusable", "reason")
    settled = ask(sun, "post", f"{path}/settle", json={"paid_minor": 1, "reason": "quota"}).json()
    assert (settled["state"], settled["paid_minor"], settled["reason"]) == ("short_paid", 1, "quota")
    assert refusal(ask(sun, "post", f"{path}/settle", json={"paid_minor": 2, "reason": "quota"})) == (
        409,
        "claim-differs",
        None,
    )
    assert ask(sun, "post", f"{path}/reopen").json()["state"] == "submitted"
    assert ask(sun, "post", f"{path}/settle", json={"paid_minor": amount_minor}).json()["state"] == "paid"
    assert refusal(ask(sun, "post", "claims", json=CLAIM)) == (409, "nothing-to-claim", None)
    assert [row["state"] for row in ask(sun, "get", "claims", state="paid").json()["results"]] == ["paid"]


def test_a_claim_is_its_firms_own(ask, world, sun, owed):
    told = ask(sun, "post", "claims", json=CLAIM).json()
    assert ask(world.moon, "post", "claims", json=CLAIM).status_code == 404
    for step, sent in (("submit", None), ("take-back", None), ("reopen", None), ("settle", {"paid_minor": 0})):
        assert ask(world.moon, "post", f"claims/{told['id']}/{step}", json=sent).status_code == 404
    assert ask(world.moon, "get", f"claims/{told['id']}").status_code == 404
    reads = sun.key(ApiKey.Scope.BILLING_READ)
    assert ask(reads, "get", f"claims/{told['id']}").json() == told
    assert ask(reads, "post", f"claims/{told['id']}/submit").status_code == 403
    assert Claim.objects.get().state == "draft"
