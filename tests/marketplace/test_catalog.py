"""The life of an offering, and what a provider may say and change of it."""

from datetime import timedelta
from decimal import Decimal

import pytest

from marketplace import catalog
from marketplace.models import Offering, Organization, Reservation, Site
from marketplace.web import urls
from tests.billing import world
from tests.marketplace import market, seller
from tests.marketplace.seller import AT, make_pool, make_provider, make_zone

pytestmark = pytest.mark.django_db

LATER = AT + timedelta(hours=1)


@pytest.fixture
def provider():
    return make_provider(make_zone())


@pytest.fixture
def offering(provider):
    return seller.draft(make_pool(provider), seller.prices(provider))


@pytest.fixture
def on_sale(offering):
    catalog.submit(offering=offering, at=AT, actor="user:1")
    return catalog.approve(offering=offering, at=AT, actor="user:9")


def history(offering):
    return list(offering.changes.values_list("from_state", "to_state", "reason", "actor"))


# Life


def test_an_offering_is_drafted_submitted_approved_paused_resumed_and_retired_and_each_step_is_kept(offering):
    catalog.submit(offering=offering, at=AT, actor="user:1")
    catalog.approve(offering=offering, at=AT, actor="user:9")
    assert Offering.objects.on_sale().get() == offering
    catalog.pause(offering=offering, reason="换风扇", at=AT, actor="user:1")
    assert (offering.state, offering.state_reason) == ("paused", "换风扇")
    catalog.resume(offering=offering, at=LATER, actor="user:1")
    assert (offering.state, offering.state_reason, offering.state_at) == ("published", "", LATER)
    catalog.retire(offering=offering, reason="sold out for good", at=LATER, actor="user:1")
    assert history(offering) == [
        ("", "draft", "", "user:1"),
        ("draft", "submitted", "", "user:1"),
        ("submitted", "published", "", "user:9"),
        ("published", "paused", "换风扇", "user:1"),
        ("paused", "published", "", "user:1"),
        ("published", "retired", "sold out for good", "user:1"),
    ]


def test_what_staff_refuse_is_a_draft_again_with_their_reason(offering):
    catalog.submit(offering=offering, at=AT, actor="user:1")
    catalog.refuse(offering=offering, reason="which network?", at=LATER, actor="user:9")
    assert (offering.state, offering.state_reason, offering.actor) == ("draft", "which network?", "user:9")
    catalog.submit(offering=offering, at=LATER, actor="user:1")
    assert offering.state_reason == ""


VERBS = {
    "submit": catalog.submit,
    "approve": catalog.approve,
    "refuse": lambda **told: catalog.refuse(reason="no", **told),
    "pause": lambda **told: catalog.pause(reason="fans", **told),
    "resume": catalog.resume,
    "retire": lambda **told: catalog.retire(reason="old", **told),
    "withdraw": catalog.withdraw,
}


@pytest.mark.parametrize("state", Offering.State.values)
@pytest.mark.parametrize("verb", VERBS)
def test_only_the_arcs_are_taken(offering, verb, state):
    Offering.objects.filter(pk=offering.pk).update(state=state)
    froms, to = catalog.ARCS[verb]
    if state in froms:
        assert VERBS[verb](offering=offering, at=AT, actor="test").state == to
        assert history(offering)[-1][:2] == (state, to)
    else:
        with pytest.raises(
            catalog.OtherStateError, match=rf"offering o1: state is {state}: expected .* to {verb} it"
        ) as told:
            VERBS[verb](offering=offering, at=AT, actor="test")
        assert told.value.state == state
        assert Offering.objects.get().state == state
        assert len(history(offering)) == 1


@pytest.mark.parametrize("reason", ["", " ", "x" * 501, "a\0b", "two\nlines"])
@pytest.mark.parametrize("verb", [catalog.pause, catalog.retire])
def test_a_reason_is_one_line_that_says_something(on_sale, verb, reason):
    with pytest.raises(catalog.InvalidFactError, match=r"reason is .*: expected one line of 1 to 500 characters"):
        verb(offering=on_sale, reason=reason, at=AT, actor="test")
    assert Offering.objects.get().state == "published"


# Who sells


@pytest.mark.parametrize("state", ["pending", "refused", "suspended"])
def test_only_a_verified_provider_lists(state):
    provider = make_provider(make_zone(), state=state)
    with pytest.raises(catalog.NotProviderError, match="供应商2: expected a provider that staff have verified"):
        make_pool(provider)
    assert not Site.objects.exists()


def test_a_buyer_does_not_list():
    buyer = make_provider(make_zone(), parts={"buyer"})
    with pytest.raises(catalog.NotProviderError):
        make_pool(buyer)


@pytest.mark.parametrize("verb", ["submit", "approve", "resume"])
def test_a_provider_suspended_meanwhile_puts_nothing_on_sale(offering, provider, verb):
    Offering.objects.filter(pk=offering.pk).update(state=min(catalog.ARCS[verb][0]))
    Organization.objects.filter(pk=provider.pk).update(state="suspended")
    with pytest.raises(catalog.NotProviderError):
        VERBS[verb](offering=offering, at=AT, actor="test")


@pytest.mark.parametrize("verb", ["pause", "retire"])
def test_a_suspended_provider_takes_off_sale(on_sale, provider, verb):
    Organization.objects.filter(pk=provider.pk).update(state="suspended")
    VERBS[verb](offering=on_sale, at=AT, actor="test")
    assert not Offering.objects.on_sale().exists()


def test_an_offering_is_under_ones_own_tariff_or_the_operators(provider):
    pool, other = make_pool(provider), make_provider(provider.zone, 3)
    theirs = seller.prices(other, code="S")
    with pytest.raises(catalog.NotOwnTariffError, match="tariff is S: expected one of 供应商2's or of the operator's"):
        seller.draft(pool, theirs)
    operators = world.publish(code="O")
    assert seller.draft(pool, operators).tariff == operators.tariff


# Sites and pools


def test_the_same_facts_again_give_the_rows_that_are_there(provider):
    assert make_pool(provider) == make_pool(provider)
    version = seller.prices(provider)
    assert version == seller.prices(provider)
    pool = make_pool(provider)
    first = seller.draft(pool, version, service_level_percent="99.9")
    assert seller.draft(pool, version, service_level_percent="99.900") == first
    assert len(history(first)) == 1


def test_other_facts_under_a_code_are_refused(provider, offering):
    with pytest.raises(catalog.CodeTakenError, match="gpus is 64, not 65"):
        make_pool(provider, gpus=65)
    with pytest.raises(catalog.CodeTakenError, match="max_hours is 72, not 24"):
        seller.draft(offering.pool, offering.tariff.versions.get(), max_hours=24)


def test_a_code_that_another_provider_uses_is_refused_without_a_word_of_theirs(provider, offering):
    other = make_provider(provider.zone, 3)
    with pytest.raises(catalog.CodeTakenError) as told:
        seller.draft(make_pool(other), seller.prices(other, code="S"), "o1")
    assert str(told.value) == "code is 'o1': expected one that is not in use"


def test_a_site_and_a_pool_change_but_for_what_identifies_them(provider):
    pool = make_pool(provider)
    catalog.change_site(site=pool.site, changes={"region": "杭州", "name_en": "One"}, actor="test")
    catalog.change_pool(pool=pool, changes={"interconnect": "NVLink", "notice_hours": 24}, actor="test")
    assert (pool.site.region, pool.site.name_en, pool.interconnect, pool.notice_hours) == ("杭州", "One", "NVLink", 24)
    with pytest.raises(catalog.InvalidFactError, match=r"gpus is 65: expected no such field; what may change is inter"):
        catalog.change_pool(pool=pool, changes={"gpus": 65}, actor="test")
    with pytest.raises(catalog.InvalidFactError, match="provider is 3: expected no such field"):
        catalog.change_site(site=pool.site, changes={"provider": 3}, actor="test")


def test_the_notice_does_not_shrink_while_somebody_has_reserved(provider, on_sale):
    pool = on_sale.pool
    buyer = make_provider(provider.zone, 4, parts={"buyer"})
    shared = {"offering": on_sale, "organization": buyer, "quantity": 8, "start_at": AT, "end_at": LATER}
    money = {"currency": "CNY", "net_minor": 0, "tax_minor": 0, "gross_minor": 0, "created_at": AT, "actor": "test"}
    quote = market.Quote.objects.create(
        tariff_version=on_sale.tariff.versions.get(), expires_at=LATER, **shared, **money
    )
    held = Reservation.objects.create(quote=quote, pool=pool, hold_expires_at=LATER, **shared, **money)
    with pytest.raises(catalog.InvalidFactError, match="notice_hours is 24: expected at least 72"):
        catalog.change_pool(pool=pool, changes={"notice_hours": 24}, actor="test")
    Reservation.objects.filter(pk=held.pk).update(state="expired")
    assert catalog.change_pool(pool=pool, changes={"notice_hours": 24}, actor="test").notice_hours == 24


# What an offering says


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name is '': expected one line of 1 to 100"),
        ({"name": "x" * 101}, "name is 'xxx"),
        ({"name": "a\0"}, r"name is 'a\\x00': expected one line"),
        ({"name": None}, "name is None"),
        ({"description": "x" * 4001}, "description is .*: expected text of at most 4000 characters"),
        ({"terms": "a\0"}, "terms is"),
        ({"min_quantity": 0}, "min_quantity is 0: expected a whole number from 1 to 1000000"),
        ({"min_quantity": -8}, "min_quantity is -8"),
        ({"max_quantity": 10**30}, "max_quantity is 1000000000"),
        ({"max_quantity": "8"}, "max_quantity is '8'"),
        ({"max_quantity": True}, "max_quantity is True"),
        ({"min_quantity": 8, "max_quantity": 4}, "max_quantity is 4: expected at least min_quantity, 8"),
        ({"step": 8}, "min_quantity is 1: expected a multiple of step, 8"),
        ({"step": 8, "min_quantity": 8, "max_quantity": 60}, "max_quantity is 60: expected a multiple of step, 8"),
        ({"step": 0}, "step is 0"),
        ({"min_hours": 0}, "min_hours is 0"),
        ({"min_hours": 100}, "max_hours is 72: expected at least min_hours, 100"),
        ({"max_hours": 87_601}, "max_hours is 87601: expected a whole number from 1 to 87600"),
        ({"lead_hours": -1}, "lead_hours is -1: expected a whole number from 0"),
        ({"service_level_percent": "0"}, "service_level_percent is '0': expected a decimal above 0"),
        ({"service_level_percent": "99.9999"}, "service_level_percent is '99.9999'"),
        ({"service_level_percent": "NaN"}, "service_level_percent is 'NaN'"),
        ({"service_level_percent": "九"}, "service_level_percent is '九'"),
        ({"service_credit_percent": "10"}, "service_credit_percent is '10': expected none, or a service_level"),
        ({"service_level_percent": "99", "service_credit_percent": "100.01"}, "service_credit_percent is '100.01'"),
        ({"cancellation_terms": {}}, "cancellation_terms is {}: expected a list of at most 20"),
        ({"cancellation_terms": [{"hours": 1, "percent": "0"}] * 21}, "cancellation_terms is .*: expected a list"),
        ({"cancellation_terms": [7]}, r"cancellation_terms\[0\] is 7: expected an object such as"),
        ({"cancellation_terms": [{"hours": 1}]}, r"cancellation_terms\[0\] is {'hours': 1}"),
        ({"cancellation_terms": [{"hours": -1, "percent": "0"}]}, r"cancellation_terms\[0\].hours is -1"),
        ({"cancellation_terms": [{"hours": 1, "percent": "100.01"}]}, r"cancellation_terms\[0\].percent is '100.01'"),
        (
            {"cancellation_terms": [{"hours": 1, "percent": 50}]},
            r"cancellation_terms\[0\].percent is 50: expected a dec",
        ),
        ({"cancellation_terms": [{"hours": 1, "percent": "-1"}]}, r"cancellation_terms\[0\].percent is '-1'"),
        ({"cancellation_terms": [{"hours": 1, "percent": "五十"}]}, r"cancellation_terms\[0\].percent is '五十'"),
        (
            {"cancellation_terms": [{"hours": 24, "percent": "0"}, {"hours": 24, "percent": "50"}]},
            r"cancellation_terms\[1\].hours is 24: expected less than 24",
        ),
        (
            {"cancellation_terms": [{"hours": 24, "percent": "50"}, {"hours": 0, "percent": "40"}]},
            r"cancellation_terms\[1\].percent is '40': expected at least 50",
        ),
    ],
)
def test_a_fact_out_of_its_range_is_told_by_field_value_and_expectation(provider, changes, message):
    with pytest.raises(catalog.InvalidFactError, match=message):
        seller.draft(make_pool(provider), seller.prices(provider), **changes)
    assert not Offering.objects.exists()


@pytest.mark.parametrize("code", ["", "a b", "算力", "x" * 61, "a/b", None, "a\n"])
def test_a_code_is_ascii(provider, code):
    with pytest.raises(catalog.InvalidFactError, match=r"code is .*: expected 1 to 60 of the letters"):
        seller.draft(make_pool(provider), seller.prices(provider), code)


def test_a_code_is_none_of_the_markets_own_pages(provider):
    """A code stands in the addresses of the market, and what stands there already would hide the offering."""
    taken = {str(each.pattern).split("/")[1] for each in urls.urlpatterns if str(each.pattern).startswith("market/")}
    assert {each for each in taken if each and "<" not in each} == catalog.RESERVED_CODES
    for code in catalog.RESERVED_CODES:
        with pytest.raises(
            catalog.InvalidFactError, match=f"code is '{code}': expected another: the market has a page"
        ):
            seller.draft(make_pool(provider), seller.prices(provider), code)


def test_the_greatest_and_the_longest_are_stored_as_they_are(provider):
    pool = make_pool(provider, gpus=1_000_000)
    text = "算力" * 2000
    made = seller.draft(
        pool, seller.prices(provider), name="卡" * 100, description=text, max_quantity=1_000_000, max_hours=87_600
    )
    stored = Offering.objects.get(pk=made.pk)
    assert (stored.name, stored.description, stored.max_quantity, stored.max_hours) == (
        "卡" * 100,
        text,
        1_000_000,
        87_600,
    )


# Ready for sale


def test_all_that_is_missing_for_a_sale_is_told_at_once(provider):
    pool = make_pool(provider, gpus=0)
    made = seller.draft(
        pool, seller.prices(provider), max_quantity=8, description="", terms=" \n", cancellation_terms=[]
    )
    with pytest.raises(catalog.NotReadyError) as told:
        catalog.submit(offering=made, at=AT, actor="test")
    assert [problem.field for problem in told.value.problems] == [
        "description",
        "terms",
        "cancellation_terms",
        "max_quantity",
    ]
    assert "max_quantity is 8: expected at most 0, the GPUs of the pool p1" in str(told.value)
    assert Offering.objects.get().state == "draft"


def test_prices_that_are_to_come_are_enough_and_prices_that_have_ended_are_not(provider):
    pool = make_pool(provider)
    coming = seller.prices(provider, effective=["2026-07-01", None])
    ended = seller.prices(provider, code="E", effective=["2026-05-01", "2026-05-06"])
    bare = coming.tariff.__class__.objects.create(code="B", name="B", owner=provider.party)
    assert seller.publish(pool, coming).state == "published"
    with pytest.raises(catalog.NotReadyError, match="tariff is 'E': expected one with prices: its last version ended"):
        seller.publish(pool, ended, "o2")
    offering = Offering.objects.get(code="o2")
    catalog.change_offering(offering=offering, changes={"tariff": bare}, at=AT, actor="test")
    with pytest.raises(catalog.NotReadyError, match="tariff is 'B': expected one with prices: it has no version yet"):
        catalog.submit(offering=offering, at=AT, actor="test")


def test_a_pool_that_drains_is_not_put_on_sale(offering):
    offering.pool.drains_at = AT
    offering.pool.save()
    with pytest.raises(catalog.NotReadyError, match="pool is 'p1': expected one that does not drain"):
        catalog.submit(offering=offering, at=AT, actor="test")


# Changes


def test_a_draft_changes_in_all_but_code_and_pool(offering):
    changes = {"name": "新名", "max_hours": 24, "service_level_percent": Decimal("99.5")}
    catalog.change_offering(offering=offering, changes=changes, at=LATER, actor="user:2")
    assert (offering.name, offering.max_hours, offering.service_level_percent) == ("新名", 24, Decimal("99.5"))
    assert history(offering)[-1] == (
        "draft",
        "draft",
        "changed: name, max_hours 72 → 24, service_level_percent None → 99.5",
        "user:2",
    )
    for field in ("code", "pool", "state", "actor"):
        with pytest.raises(catalog.InvalidFactError, match=f"{field} is 'x': expected no such field"):
            catalog.change_offering(offering=offering, changes={field: "x"}, at=AT, actor="test")


def test_a_change_that_changes_nothing_leaves_no_trace(on_sale):
    before = history(on_sale)
    catalog.change_offering(offering=on_sale, changes={"max_hours": 72}, at=LATER, actor="user:2")
    assert history(on_sale) == before


def test_on_sale_the_texts_alone_change(on_sale):
    catalog.change_offering(offering=on_sale, changes={"description_en": "Whole nodes"}, at=LATER, actor="user:1")
    assert (on_sale.description_en, on_sale.state) == ("Whole nodes", "published")
    with pytest.raises(
        catalog.OnSaleError, match="state is published: expected draft or paused to change max_hours, terms of it"
    ):
        catalog.change_offering(
            offering=on_sale, changes={"name": "x", "max_hours": 24, "terms": "y"}, at=LATER, actor="user:1"
        )
    stored = Offering.objects.get()
    assert (stored.name, stored.max_hours) == ("八卡整机", 72)


def test_a_paused_offering_whose_facts_change_is_a_draft_again(on_sale):
    catalog.pause(offering=on_sale, reason="new terms", at=AT, actor="user:1")
    catalog.change_offering(offering=on_sale, changes={"name": "新名"}, at=LATER, actor="user:1")
    assert on_sale.state == "paused"
    catalog.change_offering(offering=on_sale, changes={"max_hours": 24}, at=LATER, actor="user:1")
    assert (on_sale.state, on_sale.state_at) == ("draft", LATER)
    assert history(on_sale)[-1][:3] == ("paused", "draft", "changed: max_hours 72 → 24")


@pytest.mark.parametrize("state", ["submitted", "retired"])
def test_what_is_submitted_or_retired_does_not_change(offering, state):
    Offering.objects.filter(pk=offering.pk).update(state=state)
    with pytest.raises(catalog.OtherStateError, match=f"state is {state}: expected draft or paused to change it"):
        catalog.change_offering(offering=offering, changes={"name": "x"}, at=AT, actor="test")
