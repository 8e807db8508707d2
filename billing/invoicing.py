"""From charges to issued invoices: billing periods opened, accounts drafted, posted, numbered, the period closed.

The order of one account's transaction: the invoice as a draft with its lines; its journal; the number from the
counter's row, which all who issue in the series wait for, so it is taken last; the snapshot, and the state "issued".
Killed anywhere, nothing of it is there. The unique (account, period) makes a second process wait for the first one's
transaction and then pass on. It begins with a lock on the account and its tariffs: what was signed, reserved or
published since the rating makes it rate again, and what comes later is refused, since the month is invoiced. Usage is
not waited for: what arrives after the rating is not on the invoice. Corrections of earlier months that wait for it are issued
in the same transaction (billing.settling).
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing import charging, drafts, funding, ledger, numbers, periods, settling, workers
from billing.budgets import Counters
from billing.charging import NotChargeableError
from billing.drafts import Draft
from billing.integrity import named, planned_for_many, send, sent_ahead
from billing.ledger import Wanted
from billing.models import Account, BillingPeriod, Contract, Invoice
from billing.periods import (
    InvalidInstantError,
    InvalidPeriodError,
    NothingToCloseError,
    PeriodDiffersError,
    TooEarlyError,
    open_period,
    period_to_close,
)
from billing.soundness import VIOLATIONS, InvoiceFinalError, InvoiceUnsoundError

CHUNK = 50  # accounts that are rated together: a few queries for all of them


class ForeignAccountError(Exception):
    """The account is another issuer's than the period."""


class _OutdatedError(Exception):
    """Contracts or tariffs changed after the draft was rated."""


@dataclass(frozen=True, slots=True)
class _Book:
    """The ids of ledger accounts that some drafts post to; and of the accounts for whose invoice a correction waits."""

    accounts: Mapping[Wanted, int]
    settles: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Stored:
    """An invoice but for its number, and the notes that are settled on it."""

    invoice_id: int
    draft: Draft
    ready: list[settling.Ready]


@dataclass(frozen=True, slots=True)
class Refused:
    """An account that could not be charged, and why."""

    account: str
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """What close_period() did: numbers it issued, invoices there before, whom it could not charge, notes without an invoice."""

    period: BillingPeriod
    issued: tuple[str, ...]
    present: int
    refused: tuple[Refused, ...]
    notes: tuple[str, ...] = ()


def draft(*, account: Account, period: BillingPeriod, at: datetime, actor: str) -> Invoice:
    """Store what the account owes as a draft, in place of an older draft. An issued invoice is given back as it is.

    Raises NotChargeableError, ForeignAccountError, PeriodClosedError, InvalidInstantError.
    """
    periods.require_instant(at)
    if not _is_issued(account, period):
        ready = _ready(account, period, at)
        try:
            with named(VIOLATIONS), transaction.atomic():
                _insert(ready, period, at, actor, _hold(ready))
        except _OutdatedError:
            return draft(account=account, period=period, at=at, actor=actor)
    return Invoice.objects.get(account=account, period=period, kind=Invoice.Kind.INVOICE)


def issue(*, account: Account, period: BillingPeriod, at: datetime, actor: str) -> Invoice:
    """Issue the account's invoice for a period that has ended. An issued one is given back as it is.

    Raises NotChargeableError, ForeignAccountError, TooEarlyError, PeriodClosedError, InvalidInstantError.
    """
    periods.require_over(period.code, period.end_at, period.timezone, at)
    if not _is_issued(account, period):
        ready = _ready(account, period, at)
        _issue(ready, period, _book([ready], period), at, actor)
    return Invoice.objects.get(account=account, period=period, kind=Invoice.Kind.INVOICE)


def preview(*, account: Account, period: BillingPeriod, at: datetime) -> dict[str, Any] | None:
    """The content of the snapshot that the account's invoice would have with the corrections that wait for it, which have no
    numbers yet. None if none waits for it, or it is issued, or its period is closed. The period may be one that is not stored.

    All of it is done as in issue(), but for the numbers, and rolled back: so it is what issue() gives. For that moment it holds
    the same locks. Raises NotChargeableError.
    """
    if not settling.waits_for(account=account, period=period):
        return None
    while True:
        try:
            with named(settling.VIOLATIONS), transaction.atomic():
                # In the order of those who correct an invoice: its row, then the month in which that is posted.
                _hold(_ready(account, period, at))()
                settling.hold(account=account, period=period)
                kept = open_period(issuer=account.issuer, code=period.code)
                if kept.state == BillingPeriod.State.CLOSED:
                    return None
                ready = _ready(account, kept, at)
                stored = _store(ready, kept, _book([ready], kept), at, "preview")
                transaction.set_rollback(True)
        except _OutdatedError:
            continue
        if stored is None or not stored.ready:
            return None
        settled = [(None, each.note) for each in stored.ready]
        return settling.content(text=stored.draft.text, number=None, settled=settled)


@planned_for_many()
def close_period(
    *,
    period: BillingPeriod,
    at: datetime,
    actor: str,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Closed:
    """Issue an invoice for each account with a contract in the period, then close the period.

    Accounts go in ascending byte order of their codes, each in a transaction of its own: run again with the same `at`
    after a kill, or twice at once, this gives the same numbers and snapshots. An account that can't be charged is
    passed over and reported with its reason, so that one broken tariff does not keep all others waiting; the period
    then stays open, and the next run issues what is missing, with the next numbers. On a closed period nothing is done.

    processes: with 2 or more, so many others rate ahead while this one issues in order. progress: called with (done,
    all) accounts. Raises TooEarlyError, InvalidInstantError.
    """
    periods.require_over(period.code, period.end_at, period.timezone, at)
    present = _issued(period).count()
    issued: list[str] = []
    refused: list[Refused] = []
    alone: tuple[str, ...] = ()
    while True:
        missing = list(_missing(period).values_list("id", flat=True))
        done = 0
        for chunk in _drafts(missing, period, at, processes):
            book = _book(chunk, period)
            for ready in chunk:
                result = ready if isinstance(ready, Refused) else _issue_or_refuse(ready, period, book, at, actor)
                if isinstance(result, Refused):
                    refused.append(result)
                elif result is not None:
                    issued.append(result)
                done += 1
                if progress is not None:
                    progress(done, len(missing))
        if not refused and period.state == BillingPeriod.State.OPEN:
            alone += settling.issue_rest(period=period, at=at, actor=actor)
        if refused or _close(period, at):
            period.refresh_from_db()
            return Closed(period, tuple(issued), present, tuple(refused), alone)


def _is_issued(account: Account, period: BillingPeriod) -> bool:
    return _issued(period).filter(account=account).exists()


def _issued(period: BillingPeriod) -> QuerySet[Invoice]:
    return Invoice.objects.filter(period=period, state=Invoice.State.ISSUED, kind=Invoice.Kind.INVOICE)


def _ready(account: Account, period: BillingPeriod, at: datetime) -> Draft:
    if account.issuer_id != period.issuer_id:
        raise ForeignAccountError(
            f"account {account.code} is of issuer {account.issuer.code}: expected one of {period.issuer.code}, the issuer of"
            f" period {period.code}"
        )
    current = Account.objects.select_related("party", "issuer__party").get(
        pk=account.pk
    )  # its counter before its contracts
    charges = charging.charges(account=current, period=period)
    return drafts.make(account=current, period=period, charges=charges, at=at)


def _missing(period: BillingPeriod) -> QuerySet[Account]:
    """The accounts that are still to be invoiced, in ascending byte order of their codes (collation "C")."""
    contracts = Contract.objects.filter(charging.active(period), account=OuterRef("pk"))
    invoices = _issued(period).filter(account=OuterRef("pk"))
    return Account.objects.filter(Exists(contracts), ~Exists(invoices), issuer=period.issuer_id).order_by("code")


def _close(period: BillingPeriod, at: datetime) -> bool:
    """Close the period unless an account came up in the meantime. FOR UPDATE waits for those who post into it."""
    with transaction.atomic():
        locked = BillingPeriod.objects.select_for_update().get(pk=period.pk)
        if locked.state == BillingPeriod.State.OPEN:
            if _missing(locked).exists():
                return False
            locked.state, locked.closed_at = BillingPeriod.State.CLOSED, at
            locked.save(update_fields=["state", "closed_at"])
    return True


def _drafts(ids: Sequence[int], period: BillingPeriod, at: datetime, processes: int) -> Iterator[list[Draft | Refused]]:
    """Chunks of accounts in the order of `ids`, rated."""
    chunks = deque(list(ids[first : first + CHUNK]) for first in range(0, len(ids), CHUNK))
    if processes < 2 or len(chunks) < 2:
        for chunk in chunks:
            yield _drafts_of(chunk, period.pk, at)
        return
    pool = workers.pool(processes)
    try:
        starting = [pool.submit(int) for _ in range(processes)]
        while len(chunks) > 1 and not any(each.done() for each in starting):
            yield _drafts_of(chunks.popleft(), period.pk, at)
        own, waiting = chunks.popleft(), iter(chunks)
        ahead = deque(pool.submit(_drafts_of, chunk, period.pk, at) for chunk in islice(waiting, 3 * processes))
        yield _drafts_of(own, period.pk, at)  # while the others do theirs
        while ahead:
            rated = ahead.popleft().result()
            ahead.extend(pool.submit(_drafts_of, chunk, period.pk, at) for chunk in islice(waiting, 1))
            yield rated
    finally:
        pool.shutdown(cancel_futures=True)


def _drafts_of(ids: list[int], period_id: int, at: datetime) -> list[Draft | Refused]:
    period = BillingPeriod.objects.get(pk=period_id)
    found = Account.objects.select_related("party", "issuer__party").in_bulk(ids)
    accounts = [found[account_id] for account_id in ids]
    charged = charging.charges_of(accounts=accounts, period=period)
    made: list[Draft | Refused] = []
    for account in accounts:
        charges = charged[account.pk]
        try:
            if isinstance(charges, NotChargeableError):
                raise charges
            made.append(drafts.make(account=account, period=period, charges=charges, at=at))
        except NotChargeableError as refusal:
            made.append(Refused(account.code, str(refusal)))
    return made


# Issuing


def _issue_or_refuse(
    draft: Draft, period: BillingPeriod, book: _Book, at: datetime, actor: str
) -> str | Refused | None:
    try:
        return _issue(draft, period, book, at, actor)
    except NotChargeableError as refusal:  # rated again
        return Refused(draft.account, str(refusal))


def _issue(draft: Draft, period: BillingPeriod, book: _Book, at: datetime, actor: str) -> str | None:
    """Store, post and number one invoice, rated again for as long as its contracts or tariffs changed meanwhile.

    Its number, or None if another process issued it in the meantime. Raises NotChargeableError.
    """
    while True:
        try:
            return _issue_as_rated(draft, period, book, at, actor)
        except _OutdatedError:
            draft = _ready(Account.objects.get(pk=draft.account_id), period, at)
            book = _book([draft], period)


def _issue_as_rated(draft: Draft, period: BillingPeriod, book: _Book, at: datetime, actor: str) -> str | None:
    # What programmes pay, and what is settled, stands on how many rows were changed: for that each answer is needed.
    is_plain = draft.charges is None and draft.account_id not in book.settles
    ahead = sent_ahead() if is_plain else nullcontext()
    with named(settling.VIOLATIONS), ahead, transaction.atomic():
        stored = _store(draft, period, book, at, actor)
        if stored is None:
            transaction.set_rollback(True)  # what was prepared to go with it waits for the next one
            return None
        if stored.ready:
            return settling.issue(
                ready=stored.ready,
                invoice_id=stored.invoice_id,
                draft=stored.draft,
                issuer=period.issuer,
                at=at,
                actor=actor,
            )
        return numbers.issue(
            invoice_id=stored.invoice_id,
            issuer=period.issuer,
            series=str(draft.issue_date.year),
            text=stored.draft.text,
            due_date=draft.due_date,
            at=at,
            actor=actor,
        )


def _store(draft: Draft, period: BillingPeriod, book: _Book, at: datetime, actor: str) -> _Stored | None:
    """All of an invoice and of the corrections that go with it, but for the numbers. None if it is issued.

    Raises _OutdatedError.
    """
    ready = []
    require_held = _hold(draft)
    if draft.account_id in book.settles:
        require_held()
        if _issued(period).filter(account=draft.account_id).exists():
            return None
        account = Account.objects.select_related("party").get(pk=draft.account_id)
        held = settling.hold(account=account, period=period)
        ready = settling.prepare(held=held, due_date=draft.due_date, period=period, at=at, actor=actor)
    counters = None
    if draft.charges is not None:
        require_held()
        draft, counters = _funded(draft, period, book, at)
    invoice_id = _insert(draft, period, at, actor, require_held)
    if invoice_id is None:
        return None
    if counters is not None and draft.charges is not None:
        funding.redeem(
            invoice_id=invoice_id,
            account_id=draft.account_id,
            period=period,
            funded=draft.charges.funding,
            counters=counters,
            at=at,
            actor=actor,
        )
    if draft.sides:
        key = f"invoice:{period.code}:{draft.account}"  # the number does not exist yet
        ledger.insert(
            issuer=period.issuer,
            key=key,
            period=period,
            effective_date=period.last_date,
            source=key,
            postings=[(book.accounts[wanted], amount_minor) for wanted, amount_minor in draft.sides],
            at=at,
            actor=actor,
        )
    return _Stored(invoice_id, draft, ready)


def _funded(draft: Draft, period: BillingPeriod, book: _Book, at: datetime) -> tuple[Draft, Counters]:
    """The draft with what programmes can pay of it now, who have paid what came before; their counts stay locked.

    Raises _OutdatedError where it posts to a ledger account that is not open yet.
    """
    assert draft.charges is not None
    account = Account.objects.select_related("party", "issuer__party").get(pk=draft.account_id)
    account.contracts_changed = draft.contracts_changed  # as it is held
    offered, counters = funding.lock(account=account, period=period)
    made = drafts.make(account=account, period=period, charges=charging.fund(draft.charges, offered), at=at)
    if any(wanted not in book.accounts for wanted, _ in made.sides):
        raise _OutdatedError
    return made, counters


def _rated(draft: Draft) -> list[list[int]]:
    """The ids of the tariffs that were rated, and the last version of each."""
    return [list(column) for column in zip(*draft.versions, strict=True)] or [[], []]


def _hold(draft: Draft) -> Callable[[], None]:
    """Until the transaction ends nobody signs or reserves for the account, or publishes a version of a tariff that was
    rated. What it gives raises _OutdatedError where somebody did since, or the firm was granted a programme.
    """
    rows = send(_HOLD, [draft.account_id, _rated(draft)[0], draft.account_id])

    def require_held() -> None:
        ((contracts_changed, _, is_granted),) = rows()
        if contracts_changed != draft.contracts_changed or is_granted != (draft.charges is not None):
            raise _OutdatedError

    return require_held


def _insert(
    draft: Draft, period: BillingPeriod, at: datetime, actor: str, require_held: Callable[[], None]
) -> int | None:
    """The id of the draft stored with its lines, in place of an older one; None if the invoice is issued.

    Raises _OutdatedError.
    """
    rated = _rated(draft)
    amounts = [draft.net_minor, draft.tax_minor, draft.gross_minor, draft.subsidy_minor]
    facts = [draft.account_id, period.pk, draft.issuer_id, draft.currency, *amounts, at, actor, draft.lines]
    while True:
        rows = send(_DRAFT, [*rated, period.end_at, *facts])
        require_held()
        ((invoice_id, is_outdated),) = rows()
        if is_outdated:
            raise _OutdatedError
        if invoice_id is not None:
            return int(invoice_id)
        others = Invoice.objects.filter(account=draft.account_id, period=period, kind=Invoice.Kind.INVOICE)
        other = others.select_for_update().first()
        if other is not None and other.state == Invoice.State.ISSUED:
            return None
        if other is not None:
            other.lines.all().delete()
            other.delete()


# The counter is read from the row as it is once its lock is had. Versions are other rows, which this statement would
# not see if it waited for one who publishes: the next statement looks for them.
_HOLD = """
    SELECT (SELECT contracts_changed FROM billing_account WHERE id = %s FOR SHARE),
        (SELECT count(*) FROM (SELECT FROM billing_tariff WHERE id = ANY(%s::bigint[]) ORDER BY id FOR SHARE) AS tariff),
        EXISTS (SELECT FROM billing_grant grant_ JOIN billing_account account ON account.party_id = grant_.party_id
            WHERE account.id = %s AND grant_.state NOT IN ('applied', 'rejected', 'withdrawn'))
"""

# One statement: nothing is inserted where a later version applies, or an invoice of the account and period is there.
_DRAFT = """
    WITH outdated AS (
        SELECT EXISTS (
            SELECT FROM unnest(%s::bigint[], %s::integer[]) AS rated (tariff_id, version)
            JOIN billing_tariffversion later ON later.tariff_id = rated.tariff_id AND later.version > rated.version
            WHERE later.effective_at < %s
        ) AS is_outdated
    ), invoice AS (
        INSERT INTO billing_invoice (account_id, period_id, issuer_id, state, currency, net_minor, tax_minor,
            gross_minor, subsidy_minor, drafted_at, actor)
        SELECT %s::bigint, %s::bigint, %s::bigint, 'draft', %s::text, %s::bigint, %s::bigint, %s::bigint, %s::bigint,
            %s::timestamptz, %s::text
        FROM outdated WHERE NOT is_outdated
        ON CONFLICT (account_id, period_id) WHERE kind = 'invoice' DO NOTHING RETURNING id
    ), line AS (
        INSERT INTO billing_invoiceline (invoice_id, position, contract_id, tariff_version_id, charge, kind, tou_period,
            tier, start_at, end_at, quantity_base, base_unit, quantity, unit, unit_price, amount_minor, subsidy_minor,
            tax_category, tax_rate, explanation)
        SELECT invoice.id, row.* FROM invoice, json_to_recordset(%s::json) AS row (position integer, contract_id bigint,
            tariff_version_id bigint, charge text, kind text, tou_period text, tier smallint, start_at timestamptz,
            end_at timestamptz, quantity_base bigint, base_unit text, quantity numeric, unit text, unit_price numeric,
            amount_minor bigint, subsidy_minor bigint, tax_category text, tax_rate numeric, explanation jsonb)
    )
    SELECT (SELECT id FROM invoice), is_outdated FROM outdated
"""


def _book(ready: Sequence[Draft | Refused], period: BillingPeriod) -> _Book:
    """The ledger accounts of several drafts, opened before their transactions: an empty one says nothing."""
    drafts_ = [each for each in ready if isinstance(each, Draft)]
    by_currency: dict[str, dict[Wanted, None]] = {}
    for draft in drafts_:
        by_currency.setdefault(draft.currency, {}).update(dict.fromkeys(draft.book))
    accounts: dict[Wanted, int] = {}
    for currency, wanted in by_currency.items():
        accounts |= ledger.accounts(issuer=period.issuer, currency=currency, wanted=list(wanted))
    return _Book(accounts, settling.open_accounts(account_ids=[each.account_id for each in drafts_], period=period))


__all__ = [
    "CHUNK",
    "VIOLATIONS",
    "Closed",
    "ForeignAccountError",
    "InvalidInstantError",
    "InvalidPeriodError",
    "InvoiceFinalError",
    "InvoiceUnsoundError",
    "NothingToCloseError",
    "PeriodDiffersError",
    "Refused",
    "TooEarlyError",
    "close_period",
    "draft",
    "issue",
    "open_period",
    "period_to_close",
    "preview",
]
