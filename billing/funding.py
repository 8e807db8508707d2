"""What programmes pay of an account's charges: read for a preview, locked and taken when an invoice is issued.

`offers` says what each grant of the account's firm may still pay for a month, as pure data; `fund` makes shares of it
(billing.rating.funding). A month that is invoiced has the shares that were recorded then, so that it is re-rated with the
same funding. `lock` and `redeem` stand in the transaction that issues (billing.invoicing).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

from django.db.models import F, OuterRef, Q

from billing import budgets
from billing.budgets import Counters
from billing.models import (
    Account,
    BillingPeriod,
    Commitment,
    Grant,
    Invoice,
    InvoiceLine,
    Party,
    PartyFact,
    Programme,
    ProgrammeShare,
    Redemption,
)
from billing.rating import funding
from billing.rating.funding import Offer, Share
from billing.rating.line import Line
from billing.rating.money import TaxTotal, exponent, round_half_up
from billing.rating.period import day_start

Rate = tuple[str, Decimal]  # tax category and rate
Mode, Treatment = Programme.Mode, Programme.VatTreatment
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_MOST = 2**62
PAYING = Q(
    state__in=[Grant.State.APPROVED, Grant.State.EXPIRED],
    programme__state__in=[Programme.State.OPEN, Programme.State.PAUSED],
    programme__mode__in=[Mode.VOUCHER, Mode.REIMBURSEMENT],
)
"""Grants that may pay of a bill: use within their window is paid also when it is billed after it."""

GRANTED = Grant.objects.filter(party=OuterRef("account__party")).exclude(
    state__in=[Grant.State.APPLIED, Grant.State.REJECTED, Grant.State.WITHDRAWN]
)
"""Those of the firm of a contract's account that are or were in force: what was recorded of one stays when it ends."""


class Supplied(Protocol):
    @property
    def provider_id(self) -> int: ...


class Charged(Protocol):
    """What funding reads of a charged line; billing.charging.ChargedLine is one."""

    @property
    def supply(self) -> Supplied: ...
    @property
    def line(self) -> Line: ...
    @property
    def amount_minor(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Offered:
    """A grant and what it may pay of one invoice. `committed_minor`: of that, what is committed for this account and month."""

    offer: Offer
    programme_id: int
    grant_id: int
    name: str
    name_en: str
    funder_id: int
    funder: str
    mode: str
    vat_treatment: str
    committed_minor: int = 0
    recorded_limit: str | None = None  # what limited it when it was recorded; None: it is no record

    @property
    def is_offset(self) -> bool:
        """Does the buyer pay less for it at once? Else it pays all and claims from the funder by itself."""
        return self.mode == Mode.VOUCHER

    @property
    def reduces_tax(self) -> bool:
        return self.is_offset and self.vat_treatment != Treatment.THIRD_PARTY_CONSIDERATION


@dataclass(frozen=True, slots=True)
class Funded:
    """What a grant pays of one invoice, 0 included."""

    offered: Offered
    share: Share
    lost_minor: int = 0  # of an estimate: what was promised before and goes, since a line reaches beyond the window now

    @property
    def offset_minor(self) -> int:
        return self.share.share_minor if self.offered.is_offset else 0


def fund(lines: Sequence[Charged], offered: Sequence[Offered], currency: str) -> tuple[Funded, ...]:
    """The shares of the programmes in the order in which they pay. Pure."""
    priced = [_priced(charged) for charged in lines]
    by_code = {each.offer.code: each for each in offered}
    shares = funding.shares(priced, [each.offer for each in offered], exponent(currency))
    return tuple(Funded(by_code[share.code], _as_recorded(by_code[share.code], share)) for share in shares)


def _priced(charged: Charged, sign: int = 1) -> funding.Priced:
    return funding.Priced(
        net_minor=sign * charged.amount_minor,
        kind=charged.line.kind,
        charge=charged.line.charge,
        provider=charged.supply.provider_id,
        unit=charged.line.unit,
        quantity=sign * charged.line.quantity,
        start=charged.line.start,
        end=charged.line.end,
    )


def is_outside(lines: Sequence[Charged], offered: Offered) -> bool:
    """Is there a line that it would pay for, were it not for its window?"""
    always = replace(offered.offer, window=(_FIRST, _LAST))
    return any(
        charged.amount_minor > 0 and always.takes(priced) and not offered.offer.takes(priced)
        for charged, priced in ((charged, _priced(charged)) for charged in lines)
    )


def taken_back(lines: Sequence[Charged], offered: Offered, currency: str) -> int:
    """What it would pay less of an estimate whose lines are less than nothing together, whatever its budget and caps have left."""
    offer = replace(offered.offer, invoice_left=None, firm_left=None, budget_left=_MOST)
    [share] = funding.shares([_priced(charged, -1) for charged in lines], [offer], exponent(currency))
    return share.share_minor


def _as_recorded(offered: Offered, share: Share) -> Share:
    """A recorded share was all that could be taken: why stands in the record."""
    if offered.recorded_limit is None or share.share_minor != offered.offer.budget_left:
        return share
    return replace(share, limited_by=offered.recorded_limit)


def offsets(funded: Sequence[Funded], count: int) -> tuple[int, ...]:
    """What programmes pay of each line in the buyer's place."""
    return tuple(sum(each.share.by_line[place] for each in funded if each.offered.is_offset) for place in range(count))


def taxed(lines: Sequence[Charged], totals: Sequence[TaxTotal], funded: Sequence[Funded]) -> tuple[TaxTotal, ...]:
    """The tax totals after funding: a share that a third party pays of the price changes none; else tax is on the rest."""
    reduced: dict[Rate, int] = {}
    for each in funded:
        if each.offered.reduces_tax:
            for charged, part_minor in zip(lines, each.share.by_line, strict=True):
                key = (charged.line.tax_category, charged.line.tax_rate)
                reduced[key] = reduced.get(key, 0) + part_minor
    found = []
    for total in totals:
        part_minor = reduced.get((total.category, total.rate), 0)
        if part_minor:
            base_minor = total.net_minor - part_minor
            tax_minor = round_half_up(base_minor * Fraction(total.rate), 0)
            found.append(TaxTotal(total.category, total.rate, base_minor, tax_minor))
        else:
            found.append(total)
    return tuple(found)


# What a grant may still pay


def offers(*, account: Account, period: BillingPeriod) -> tuple[Offered, ...]:
    """What each grant of the account's firm may pay for the month: as recorded if it is invoiced, else what is left now."""
    if period.pk is not None:  # a month that is not stored has no invoice
        issued = Invoice.objects.filter(
            account=account, period=period, state=Invoice.State.ISSUED, kind=Invoice.Kind.INVOICE
        )
        invoice = issued.only("pk").first()
        if invoice is not None:
            return recorded(invoice=invoice, period=period)
    grants = _grants(account, period)
    if not grants:
        return ()
    counters = budgets.read(
        programmes=[grant.programme for grant in grants],
        credit_code=grants[0].party.credit_code,
        months=[period.code],
    )
    return _offered(grants, account, period, counters)


def lock(*, account: Account, period: BillingPeriod) -> tuple[tuple[Offered, ...], Counters]:
    """offers() of a month that is not invoiced, with the counts that they stand on locked in the caller's transaction."""
    grants = _grants(account, period)
    budgets.hold(programmes=[grant.programme_id for grant in grants], grants=[grant.pk for grant in grants])
    grants = _grants(account, period)  # as they are now that nobody changes them
    counters = budgets.lock(
        programmes=[grant.programme for grant in grants],
        credit_code=grants[0].party.credit_code if grants else "",
        months=[period.code],
    )
    return _offered(grants, account, period, counters), counters


def recorded(*, invoice: Invoice, period: BillingPeriod) -> tuple[Offered, ...]:
    """What was recorded at the issue of an invoice, as offers of exactly that: re-rating by them gives the same shares."""
    shares = ProgrammeShare.objects.filter(invoice=invoice).select_related("programme__funder", "grant")
    return tuple(
        offer_of(
            share.grant,
            share.programme,
            period,
            barred=frozenset(share.barred),
            left=(None, None, share.share_minor),
            recorded_limit=share.limited_by,
        )
        for share in shares.order_by("pk")
    )


def _grants(account: Account, period: BillingPeriod) -> list[Grant]:
    """One for each programme, by the programme's id: of several the one that is not expired, then the latest."""
    last = period.last_date
    found = Grant.objects.filter(
        PAYING,
        party=account.party_id,
        programme__issuer=account.issuer_id,
        from_date__lte=last,
        until_date__gte=last.replace(day=1),
        programme__from_date__lte=last,
        programme__until_date__gte=last.replace(day=1),
    )
    by_programme: dict[int, Grant] = {}
    rows = found.select_related("programme__funder", "party")
    for grant in sorted(rows, key=lambda each: (each.programme_id, each.state == Grant.State.APPROVED, each.pk)):
        by_programme[grant.programme_id] = grant
    return list(by_programme.values())


def _offered(
    grants: Sequence[Grant], account: Account, period: BillingPeriod, counters: Counters
) -> tuple[Offered, ...]:
    committed: dict[int, int] = {}
    open_ones = Commitment.objects.filter(
        grant__in=[grant.pk for grant in grants], account=account, month=period.code, state=Commitment.State.OPEN
    )
    for grant_id, amount_minor in open_ones.values_list("grant_id", "amount_minor"):
        committed[grant_id] = committed.get(grant_id, 0) + amount_minor
    made = []
    for grant in grants:
        programme, own_minor = grant.programme, committed.get(grant.pk, 0)
        left = counters.left(programme.pk, period.code)
        is_open = programme.state == Programme.State.OPEN
        budget_minor = own_minor + ((left.budget_minor or 0) if is_open else 0)
        firm_minor = None if left.firm_minor is None else own_minor + left.firm_minor
        made.append(
            offer_of(
                grant,
                programme,
                period,
                barred=barred_by(grant, period),
                left=(programme.cap_invoice_minor, firm_minor, budget_minor),
                committed_minor=own_minor,
            )
        )
    return tuple(made)


def committed_of_groups(
    groups: Collection[str], *, account: Account, months: Collection[str]
) -> dict[tuple[str, str], set[int]]:
    """By stacking group and month, the programmes of which something is committed for the account. The invoice has one of a
    group, and pays what was promised: so of a group only what has promised already promises and commits more. One query.
    """
    rows = Commitment.objects.filter(
        account=account,
        month__in=months,
        state=Commitment.State.OPEN,
        grant__in=Grant.objects.filter(PAYING, programme__stacking_group__in=groups),
    )
    found: dict[tuple[str, str], set[int]] = {}
    for group, month, programme_id in rows.values_list("grant__programme__stacking_group", "month", "grant__programme"):
        found.setdefault((group, month), set()).add(programme_id)
    return found


def offer_of(
    grant: Grant,
    programme: Programme,
    period: BillingPeriod,
    *,
    barred: frozenset[int],
    left: tuple[int | None, int | None, int],
    committed_minor: int = 0,
    recorded_limit: str | None = None,
) -> Offered:
    """left: of the invoice's cap, of the firm's caps (None: there is none), of the budget."""
    assert programme.funder is not None  # constraint programme_open_is_whole
    assert programme.mode is not None
    invoice_minor, firm_minor, budget_minor = left
    offer = Offer(
        code=programme.code,
        group=programme.stacking_group,
        priority=programme.priority,
        percent=programme.percent,
        unit_amount=programme.unit_amount,
        unit=programme.unit,
        kinds=frozenset(programme.kinds),
        charges=frozenset(programme.charges),
        window=_window(grant, programme, period.timezone),
        barred=barred,
        invoice_left=invoice_minor,
        firm_left=firm_minor,
        budget_left=budget_minor,
        has_promised=committed_minor > 0,
    )
    return Offered(
        offer=offer,
        programme_id=programme.pk,
        grant_id=grant.pk,
        name=programme.name,
        name_en=programme.name_en,
        funder_id=programme.funder.pk,
        funder=programme.funder.legal_name,
        mode=programme.mode,
        vat_treatment=programme.vat_treatment,
        committed_minor=committed_minor,
        recorded_limit=recorded_limit,
    )


def _window(grant: Grant, programme: Programme, timezone: str) -> tuple[datetime, datetime]:
    """The instants in which use is paid for: the days of the programme that are days of the grant."""
    firsts = [day for day in (grant.from_date, programme.from_date) if day]
    lasts = [day for day in (grant.until_date, programme.until_date) if day]
    return day_start(max(firsts), timezone), day_start(min(lasts) + timedelta(days=1), timezone)


def barred_by(grant: Grant, period: BillingPeriod) -> frozenset[int]:
    """The parties whose supply the programme does not pay for: related ones, and those that claim on their side."""
    barred: set[int] = set()
    first, last = period.last_date.replace(day=1), period.last_date
    if grant.programme.bars_related_parties:
        holds = Q(kind=PartyFact.Kind.RELATED_PARTY, from_date__lte=last) & (
            Q(until_date__isnull=True) | Q(until_date__gt=first)
        )
        named = PartyFact.objects.filter(holds, party=grant.party_id).values("value")
        naming = PartyFact.objects.filter(holds, value=grant.party.credit_code).values("party")
        related = Party.objects.filter(Q(credit_code__in=named) | Q(pk__in=naming) | Q(pk=grant.party_id))
        barred.update(related.values_list("pk", flat=True))
    if grant.programme.one_side_claims:
        others = Grant.objects.filter(programme=grant.programme_id, from_date__lte=last, until_date__gte=first).exclude(
            party=grant.party_id
        )
        barred.update(others.values_list("party", flat=True))
    return frozenset(barred)


# At issue


def redeem(
    *,
    invoice_id: int,
    account_id: int,
    period: BillingPeriod,
    funded: Sequence[Funded],
    counters: Counters,
    at: datetime,
    actor: str,
) -> None:
    """Record the shares of an invoice that is being issued, line by line, and take them of the locked counts.

    What is committed for the account and month is redeemed first; what is left of it goes back, since the month is over.
    Raises BudgetExceededError, CapExceededError.
    """
    lines = list(InvoiceLine.objects.filter(invoice=invoice_id).order_by("position").values_list("pk", flat=True))
    for each in funded:
        offered, share = each.offered, each.share
        recorded_share = ProgrammeShare.objects.create(
            invoice_id=invoice_id,
            programme_id=offered.programme_id,
            grant_id=offered.grant_id,
            month=period.code,
            eligible_minor=share.eligible_minor,
            wanted_minor=share.wanted_minor,
            share_minor=share.share_minor,
            limited_by=share.limited_by,
            barred=sorted(offered.offer.barred),
        )
        Redemption.objects.bulk_create(
            Redemption(share=recorded_share, line_id=line_id, amount_minor=part_minor)
            for line_id, part_minor in zip(lines, share.by_line, strict=True)
            if part_minor
        )
        if offered.committed_minor or share.share_minor:
            counters.move(
                programme_id=offered.programme_id,
                month=period.code,
                committed_minor=-offered.committed_minor,
                redeemed_minor=share.share_minor,
            )
        _end_commitments(
            grant_id=offered.grant_id,
            account_id=account_id,
            month=period.code,
            share_minor=share.share_minor,
            at=at,
            actor=actor,
        )


def _end_commitments(*, grant_id: int, account_id: int, month: str, share_minor: int, at: datetime, actor: str) -> None:
    open_ones = Commitment.objects.filter(grant=grant_id, account=account_id, month=month, state=Commitment.State.OPEN)
    for commitment in open_ones.order_by("pk"):
        redeemed_minor = min(share_minor, commitment.amount_minor)
        share_minor -= redeemed_minor
        Commitment.objects.filter(pk=commitment.pk).update(
            state=Commitment.State.REDEEMED if redeemed_minor else Commitment.State.RELEASED,
            redeemed_minor=redeemed_minor,
            released_minor=F("amount_minor") - redeemed_minor,
            ended_at=at,
            ended_by=actor,
        )
