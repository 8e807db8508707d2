"""The demo's programme: a fund of the cast pays a part of every buyer's bill."""

from datetime import date
from decimal import Decimal

from billing import parties, programmes
from billing.models import Issuer, Party, Programme
from marketplace.demo_plan import Plan, firm
from marketplace.demo_plan import programmes as cast_programmes

ACTOR = "command:demo"


def found_programme(*, plan: Plan, issuer: Issuer) -> Programme | None:
    """The plan's programme, open for the year of its month; None if it has none. Again: the one that is there."""
    if plan.programme is None:
        return None
    facts = cast_programmes()[plan.programme]
    at, year = plan.period.start, (date(plan.year, 1, 1), date(plan.year, 12, 31))
    fund = firm(facts["funder"])
    funder = parties.register(
        legal_name=fund.name,
        legal_name_en=fund.name_en,
        credit_code=fund.credit_code,
        address=fund.address,
        at=at,
    )
    programme = programmes.draft(
        issuer=issuer,
        code=facts["code"],
        name=facts["name"],
        terms={
            "name_en": facts["name_en"],
            "mode": Programme.Mode.VOUCHER,
            "funder": funder,
            "percent": Decimal(facts["percent"]),
            "from_date": year[0],
            "until_date": year[1],
            "cap_firm_month_minor": facts["cap_firm_month_minor"],
            "bars_related_parties": False,
            "one_side_claims": False,
        },
        at=at,
        actor=ACTOR,
    )
    programmes.set_budget(
        programme=programme, code="all", from_date=year[0], until_date=year[1], budget_minor=facts["budget_minor"]
    )
    if programme.state == Programme.State.DRAFT:
        for name, says in facts["rules"].items():
            programmes.cite(programme=programme, name=name, says=says, title=facts["source"], dated=year[0])
        programmes.sign_off_vat(
            programme=programme, treatment=Programme.VatTreatment.THIRD_PARTY_CONSIDERATION, at=at, actor=ACTOR
        )
    programmes.open_(programme=programme, at=at, actor=ACTOR)
    return programme


def grant(*, programme: Programme, party: Party, plan: Plan) -> None:
    """Grant it to a buyer, once."""
    there = programme.grants.filter(party=party).first()
    granted = there or programmes.apply(programme=programme, party=party, at=plan.period.start, actor=ACTOR)
    programmes.approve(grant=granted, at=plan.period.start, actor=ACTOR)
