"""What is done in the admin goes through the verbs, and what they refuse is said where it was entered."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse
from openpyxl import load_workbook
from pypdf import PdfReader

from billing import contracts, invoicing, parties, tariffs
from billing.models import (
    Account,
    BillingPeriod,
    Contract,
    Invoice,
    Issuer,
    Meter,
    Party,
    ReservedSpan,
    Tariff,
    TariffVersion,
)
from marketplace import keys, tasks
from marketplace.models import ApiKey, Job, Membership, Organization, User
from tests.marketplace.tenants import AT, PASSWORD, make_user
from tests.web.admin_world import credit_code, rows

DOCUMENT = {
    "code": "ADMIN",
    "currency": "CNY",
    "timezone": "Asia/Shanghai",
    "effective": ["2026-01-01", None],
    "periods": ["all"],
    "schedule": {"weekday": [["all"] * 24], "weekend": [["all"] * 24]},
    "charges": [{"kind": "standing", "code": "SC", "amount": "10.00", "per": "day"}],
    "tax": {"category": "S", "rate": "0.06", "price_includes_tax": False},
    "rounding": {"line": "half_up"},
}


@pytest.fixture
def client(tenants, browser):
    return browser(tenants.staff)


def add(client, model, **facts):
    """POST the add form; the errors of the form, by field, or {} if the row was added."""
    response = client.post(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add"), facts)
    assert response.status_code in (200, 302)
    return {} if response.status_code == 302 else dict(response.context["adminform"].form.errors)


def moment(name, text):
    day, _, clock = text.partition(" ")
    return {f"{name}_0": day, f"{name}_1": clock}


def page(model, row, name):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=[row.pk])


def said(response):
    """The last of the messages that no page has shown yet."""
    return [str(message) for message in get_messages(response.wsgi_request)][-1]


def no_rows_of(name):
    """What a page sends of a table whose rows are only looked at."""
    return {f"{name}-TOTAL_FORMS": 0, f"{name}-INITIAL_FORMS": 0}


# Parties, accounts, contracts


def test_a_party_is_registered_and_a_wrong_credit_code_stands_at_its_field(client):
    facts = {"legal_name": "新公司", "credit_code": "91310000MA1K000018"}
    assert list(add(client, Party, **facts)) == ["credit_code"]
    count = Party.objects.count()
    assert add(client, Party, **facts | {"credit_code": credit_code(99)}) == {}
    assert Party.objects.count() == count + 1
    assert Party.objects.get(credit_code=credit_code(99)).legal_name == "新公司"


def test_issuer_and_account_are_made_by_their_verbs(client, tenants):
    party = tenants.sun.organization.party
    facts = {"code": "new", "party": party.pk, "currency": "CNY", "number_prefix": "NEW"}
    assert list(add(client, Issuer, **facts, timezone="Asia/Nowhere")) == ["timezone"]
    assert add(client, Issuer, **facts, timezone="Asia/Shanghai") == {}
    issuer = Issuer.objects.get(code="new")
    account = {"issuer": issuer.pk, "code": "sun-2", "party": party.pk, "payment_term_days": 30}
    assert list(add(client, Account, **account, language="fr")) == ["language"]
    assert add(client, Account, **account, language="en") == {}
    assert (Account.objects.get(code="sun-2").issuer, Account.objects.get(code="sun-2").language) == (issuer, "en")


def test_a_contract_is_signed_and_capacity_reserved_in_the_name_of_who_did_it(client, tenants):
    sun = tenants.sun
    facts = {
        "number": "C-new",
        "account": sun.account.pk,
        "tariff": sun.contract.tariff.pk,
        "provider": tenants.north.organization.party.pk,
        "fee_percent": "12.5",
    }
    off_edge = add(client, Contract, **facts, **moment("start_at", "2026-07-01 00:07:00"))
    assert list(off_edge) == ["start_at"]
    invoiced = add(client, Contract, **facts, **moment("start_at", "2026-04-10 00:00:00"))
    why = "expected a time after period 2026-04, which is invoiced for account sun"
    assert invoiced == {"start_at": [f"start_at is 2026-04-10T00:00:00+08:00: {why}"]}
    assert not Contract.objects.filter(number="C-new").exists()
    assert add(client, Contract, **facts, **moment("start_at", "2026-07-01 00:00:00")) == {}
    contract = Contract.objects.get(number="C-new")
    assert (contract.fee_percent, contract.actor) == (Decimal("12.50"), f"user:{tenants.staff.pk}")
    assert contract.start_at == datetime(2026, 6, 30, 16, tzinfo=UTC)
    span = {"contract": contract.pk, "quantity": 8, "source": "order 7"}
    assert list(add(client, ReservedSpan, **span, **moment("start_at", "2026-06-01 00:00:00"))) == ["start_at"]
    assert add(client, ReservedSpan, **span, **moment("start_at", "2026-08-01 00:00:00")) == {}
    assert ReservedSpan.objects.get(contract=contract).quantity == 8


def test_a_meter_is_defined_and_only_its_names_change_later(client):
    facts = {
        "code": "cpu",
        "name": "CPU",
        "event_type": "cpu.sample",
        "kind": "gauge",
        "aggregation": "sum",
        "value_field": "value",
        "duration_field": "duration_seconds",
        "max_gap_seconds": 900,
        "base_unit": "cpu_second",
        "unit": "cpu_hour",
        "demand_unit": "cpu",
        "base_per_unit": 3600,
    }
    assert "__all__" in add(client, Meter, **facts | {"base_per_unit": 0})
    assert add(client, Meter, **facts) == {}
    meter = Meter.objects.get(code="cpu")
    changed = client.post(page(Meter, meter, "change"), facts | {"name": "Processor", "base_per_unit": 1})
    assert changed.status_code == 302
    meter.refresh_from_db()
    assert (meter.name, meter.base_per_unit) == ("Processor", 3600)


# Tariffs


def publish(client, document):
    text = document if isinstance(document, str) else json.dumps(document)
    return add(client, TariffVersion, document=text)


def test_a_tariff_is_published_and_the_documents_error_stands_at_the_field_with_its_path(client, tenants):
    wrong = json.loads(json.dumps(DOCUMENT))
    wrong["charges"][0]["amount"] = "ten"
    assert publish(client, wrong)["document"][0].startswith("charges[0].amount")
    assert publish(client, "{\n1")["document"] == [
        "Line 2, column 1 is no JSON: Expecting property name enclosed in double quotes"
    ]
    assert publish(client, "[" * 100_000)["document"] == ["The document is nested too deep."]
    for document in ("[]", "null", "1", '"x"', "{}"):
        assert list(publish(client, document)) == ["document"], document
    assert not Tariff.objects.filter(code="ADMIN").exists()
    assert publish(client, DOCUMENT) == {}
    version = TariffVersion.objects.get(tariff__code="ADMIN")
    assert (version.version, version.document, version.actor) == (1, DOCUMENT, f"user:{tenants.staff.pk}")
    earlier = DOCUMENT | {"effective": ["2025-01-01", None]}
    assert publish(client, earlier)["document"][0].startswith("effective[0] is 2025-01-01")
    assert publish(client, DOCUMENT | {"effective": ["2027-01-01", None]}) == {}
    assert list(TariffVersion.objects.filter(tariff=version.tariff).values_list("version", flat=True)) == [1, 2]


def test_the_next_version_begins_as_the_last_ones_document(client):
    publish(client, DOCUMENT)
    tariff = Tariff.objects.get(code="ADMIN")
    form = client.get(reverse("admin:billing_tariffversion_add"), {"tariff": tariff.pk}).context["adminform"].form
    text = form.initial["document"]
    assert json.loads(text) == DOCUMENT
    assert text.startswith('{\n  "code": "ADMIN",\n  "currency": "CNY",')
    assert '\n  "effective": ["2026-01-01", null],\n' in text
    for nonsense in ("x", "9" * 30, "-1", "²"):
        assert client.get(reverse("admin:billing_tariffversion_add"), {"tariff": nonsense}).status_code == 200


# Periods, invoices


@pytest.fixture
def month(tenants):
    """March of 2026, ended and open: two accounts can be charged, the third has no tariff version."""
    issuer = tenants.issuer
    tariffs.publish(document=DOCUMENT, at=AT, actor="test")
    bare = Tariff.objects.create(code="BARE", name="no version")
    provider = tenants.north.organization.party
    for code, tariff in (("a", "ADMIN"), ("b", "ADMIN"), ("c", "BARE")):
        account = parties.open_account(issuer=issuer, code=code, party=tenants.sun.account.party, at=AT)
        contracts.sign(
            number=f"C-{code}",
            account=account,
            tariff=Tariff.objects.get(code=tariff),
            provider=provider,
            fee_percent=Decimal(10),
            start_at=datetime(2026, 2, 28, 16, tzinfo=UTC),
            end_at=datetime(2026, 3, 31, 16, tzinfo=UTC),
            actor="test",
        )
    assert bare.pk
    return invoicing.open_period(issuer=issuer, code="2026-03")


def test_a_period_is_opened_by_its_code(client, tenants):
    assert list(add(client, BillingPeriod, issuer=tenants.issuer.pk, code="2026-13")) == ["code"]
    assert add(client, BillingPeriod, issuer=tenants.issuer.pk, code="2026-08") == {}
    assert BillingPeriod.objects.get(code="2026-08").start_at == datetime(2026, 7, 31, 16, tzinfo=UTC)


def test_closing_asks_first_and_shows_what_it_would_issue_and_whom_it_cannot_charge(client, month):
    response = client.get(page(BillingPeriod, month, "close"))
    refused, expected = response.context["tables"]
    why = (
        "contract C-c: tariff BARE has no version for 2026-02-28T16:00:00+00:00 (it has none by then): publish one that"
        " applies from then or before"
    )
    assert [(str(row[1]), row[2]) for row in refused.rows] == [("sun Ltd", why)]
    assert [row[2:] for row in expected.rows] == [
        ["¥310.00", "¥18.60", "¥328.60", "¥0.00", "¥328.60"],
        ["¥310.00", "¥18.60", "¥328.60", "¥0.00", "¥328.60"],
        ["¥620.00", "¥37.20", "¥657.20", "¥0.00", "¥657.20"],
    ]
    assert response.context["question"].startswith("1 account can't be charged")
    assert not Invoice.objects.filter(period=month).exists()
    assert not Job.objects.exists()


def test_closing_is_one_job_of_the_worker_however_often_it_is_asked_for(client, month, tenants):
    address = page(BillingPeriod, month, "close")
    for _ in range(2):
        assert client.post(address).status_code == 302
    job = Job.objects.get()
    assert (job.kind, job.key, job.state) == ("close_period", "lingang 2026-03", "due")
    assert job.payload == {"issuer": "lingang", "period": "2026-03"}
    with pytest.raises(tasks.NotClosedError):
        tasks.close_period(job, AT)
    assert Invoice.objects.filter(period=month, state="issued").count() == 2
    Job.objects.update(state="failed", finished_at=AT, attempts=6)
    client.post(address)
    job.refresh_from_db()
    assert (job.state, job.attempts, job.retried_by) == ("due", 0, f"user:{tenants.staff.pk}")


def test_a_period_that_is_closed_or_has_not_ended_is_not_closed(client, tenants):
    closed = BillingPeriod.objects.get(code="2026-04")
    BillingPeriod.objects.filter(pk=closed.pk).update(state="closed", closed_at=AT)
    running = invoicing.open_period(issuer=tenants.issuer, code="2199-12")
    for period, why in (
        (closed, "The period is closed."),
        (running, "The period has not ended: it is closed after its end."),
    ):
        response = client.get(page(BillingPeriod, period, "close"))
        assert (response.status_code, response.context["obstacle"]) == (200, why)
        assert client.post(page(BillingPeriod, period, "close")).status_code == 409
    assert not Job.objects.exists()
    assert client.get(reverse("admin:billing_billingperiod_close", args=[999999])).status_code == 404


def test_what_an_account_owes_is_previewed_with_the_words_of_the_refusal_if_it_cannot_be_had(client, month):
    good = Account.objects.get(code="a")
    response = client.get(reverse("admin:preview", args=[good.pk]), {"period": month.pk})
    (table,) = response.context["tables"]
    assert [row[6] for row in table.rows] == ["¥310.00", "¥310.00", "¥18.60", "¥328.60"]
    bad = Account.objects.get(code="c")
    response = client.get(reverse("admin:preview", args=[bad.pk]), {"period": month.pk})
    assert response.context["obstacle"].startswith("contract C-c: tariff BARE has no version")
    for wanted in ("999999", "x"):
        assert client.get(reverse("admin:preview", args=[good.pk]), {"period": wanted}).status_code == 404


def test_an_issued_invoice_comes_as_pdf_in_both_languages_and_in_every_format(client, month):
    account = Account.objects.get(code="a")
    invoice = invoicing.issue(account=account, period=month, at=AT, actor="test")
    for language, word in (("en", "Invoice number"), ("zh-hans", "账单编号")):
        response = client.get(reverse("admin:invoice_pdf", args=[invoice.pk, language]))
        assert response["Content-Type"] == "application/pdf"
        assert word in PdfReader(BytesIO(response.content)).pages[0].extract_text()
    assert client.get(reverse("admin:invoice_pdf", args=[invoice.pk, "fr"])).status_code == 404
    for name, parts in (("invoice_export", [invoice.pk]), ("period_export", [month.pk])):
        files = {
            form: b"".join(client.get(reverse(f"admin:{name}", args=[*parts, form])))
            for form in ("csv", "xlsx", "json")
        }
        assert json.loads(files["json"])[0]["number"] == invoice.number
        assert f'"{invoice.number}"'.encode() in files["csv"]
        assert load_workbook(BytesIO(files["xlsx"]))["invoices"]["A2"].value == invoice.number
        assert client.get(reverse(f"admin:{name}", args=[*parts, "exe"])).status_code == 404


def test_a_draft_has_no_files(client, tenants):
    for address in ("invoice_pdf", "invoice_export"):
        assert client.get(reverse(f"admin:{address}", args=[tenants.sun.draft.pk, "en"])).status_code == 404


# Keys, jobs


def test_a_key_is_revoked_on_its_page_after_a_question_and_its_secret_is_nowhere(client, tenants):
    key = tenants.sun.key
    address = page(ApiKey, key, "revoke")
    for response in (
        client.get(page(ApiKey, key, "change")),
        client.get(reverse("admin:marketplace_apikey_changelist")),
    ):
        assert key.secret_sha256 not in response.content.decode()
        assert tenants.sun.token not in response.content.decode()
    assert client.get(address).status_code == 200
    key.refresh_from_db()
    assert key.revoked_at is None
    assert client.post(address).status_code == 302
    key.refresh_from_db()
    first = key.revoked_at
    assert first is not None
    assert keys.authenticate(tenants.sun.token, at=AT) is None
    assert client.post(address).status_code == 409
    key.refresh_from_db()
    assert key.revoked_at == first


def test_several_keys_are_revoked_from_the_list(client, tenants):
    chosen = [tenants.sun.key.pk, tenants.moon.key.pk]
    facts = {"action": "revoke_selected", "_selected_action": chosen}
    response = client.post(reverse("admin:marketplace_apikey_changelist"), facts)
    assert said(response) == "2 keys are revoked."
    assert set(ApiKey.objects.filter(revoked_at__isnull=False).values_list("pk", flat=True)) == set(chosen)


def test_a_failed_job_is_retried_and_no_other(client, tenants):
    failed = Job.objects.create(
        kind="tidy", key="1", due_at=AT, created_at=AT, state="failed", finished_at=AT, attempts=6
    )
    done = Job.objects.create(kind="tidy", key="2", due_at=AT, created_at=AT, state="done", finished_at=AT)
    assert client.post(page(Job, done, "retry")).status_code == 409
    assert client.post(page(Job, failed, "retry")).status_code == 302
    failed.refresh_from_db()
    assert (failed.state, failed.attempts, failed.retried_by) == ("due", 0, f"user:{tenants.staff.pk}")
    Job.objects.filter(pk=failed.pk).update(state="failed", finished_at=AT)
    facts = {"action": "retry_selected", "_selected_action": [failed.pk, done.pk]}
    response = client.post(reverse("admin:marketplace_job_changelist"), facts)
    assert said(response) == "1 job is due again."
    assert dict(Job.objects.values_list("key", "state")) == {"1": "due", "2": "done"}


# People


def test_an_organization_is_made_and_members_come_change_and_go(client, tenants):
    rows(1)
    party = Party.objects.create(legal_name="Star Ltd", credit_code=credit_code(98), created_at=AT)
    facts = {"zone": tenants.zone.pk, "party": party.pk, "name": "Star"}
    assert list(add(client, Organization, **facts)) == ["parts"]
    assert add(client, Organization, **facts, parts=["buyer", "funder"]) == {}
    star = Organization.objects.get(name="Star")
    assert (star.is_buyer, star.is_provider, star.is_funder, star.is_operator) == (True, False, True, False)
    user = make_user("ada")
    assert add(client, Membership, organization=star.pk, user=user.pk, role="owner") == {}
    membership = Membership.objects.get(user=user)
    assert membership.actor == f"user:{tenants.staff.pk}"
    last = client.post(page(Membership, membership, "change"), {"role": "viewer"})
    assert list(last.context["adminform"].form.errors) == ["role"]
    refused = client.post(page(Membership, membership, "remove"))
    assert said(refused) == "An organization needs an owner: make somebody else one first."
    other = make_user("bob")
    assert add(client, Membership, organization=star.pk, user=other.pk, role="owner") == {}
    assert client.post(page(Membership, membership, "change"), {"role": "viewer"}).status_code == 302
    membership.refresh_from_db()
    assert membership.role == "viewer"
    removed = client.post(page(Membership, membership, "remove"))
    assert said(removed) == "ada@example.com is no longer a member of Star."
    assert list(Membership.objects.filter(organization=star).values_list("user", "role")) == [(other.pk, "owner")]


def test_an_organization_that_does_nothing_is_refused(client, tenants):
    sun = tenants.sun.organization
    nothing = {"name": "Sun 2"} | no_rows_of("memberships") | no_rows_of("changes") | no_rows_of("membership_changes")
    response = client.post(page(Organization, sun, "change"), nothing)
    assert response.context["adminform"].form.errors.keys() == {"__all__"}
    assert client.post(page(Organization, sun, "change"), nothing | {"is_funder": "on"}).status_code == 302
    sun.refresh_from_db()
    assert (sun.name, sun.is_buyer, sun.is_funder) == ("Sun 2", False, True)


NEW_USER = {
    "email": "New@Example.com",
    "name": "New",
    "usable_password": "true",
    "password1": PASSWORD,
    "password2": PASSWORD,
}


def test_a_user_is_added_with_a_password_that_works_and_no_rights(client, browser):
    assert add(client, User, **NEW_USER | {"password2": "another one"}).keys() == {"password2"}
    assert add(client, User, **NEW_USER | {"is_staff": "on", "is_superuser": "on"}) == {}
    user = User.objects.get(email="new@example.com")
    assert (user.check_password(PASSWORD), user.is_staff, user.is_superuser) == (True, False, False)
    again = add(client, User, **NEW_USER | {"email": "NEW@example.com"})
    assert again == {"__all__": ["A user with this e-mail address already exists."]}


def test_only_superusers_say_who_is_staff_and_change_those_who_are(client, browser, tenants):
    clerk = make_user("clerk", is_staff=True)
    plain = tenants.sun.owner
    rights = {"email": plain.email, "name": "Changed", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    rights |= no_rows_of("memberships")
    assert browser(clerk).post(page(User, plain, "change"), rights).status_code == 302
    plain.refresh_from_db()
    assert (plain.name, plain.is_staff, plain.is_superuser) == ("Changed", False, False)
    own = rights | {"email": clerk.email}
    assert browser(clerk).post(page(User, clerk, "change"), own).status_code == 302
    clerk.refresh_from_db()
    assert (clerk.is_staff, clerk.is_superuser) == (True, False)
    new_password = {"password1": "entirely other", "password2": "entirely other", "usable_password": "true"}
    for address in (page(User, tenants.staff, "change"), f"/admin/marketplace/user/{tenants.staff.pk}/password/"):
        assert browser(clerk).post(address, rights | new_password).status_code == 403
    tenants.staff.refresh_from_db()
    assert tenants.staff.check_password(PASSWORD)
    assert client.post(page(User, plain, "change"), rights).status_code == 302
    plain.refresh_from_db()
    assert (plain.is_staff, plain.is_superuser) == (True, True)


def test_what_staff_did_stands_in_the_history(client, tenants):
    client.post(page(ApiKey, tenants.sun.key, "revoke"))
    text = client.get(page(ApiKey, tenants.sun.key, "history")).content.decode()
    assert "revoked" in text
    assert tenants.staff.email in text or tenants.staff.get_full_name() in text
