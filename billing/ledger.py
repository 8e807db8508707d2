"""Double entry: the only writer of ledger accounts, journals and postings.

A debit is positive, a credit negative. A journal sums to zero per currency, belongs to one open billing period, and is
never changed: a mistake is reversed. The database holds all of that by itself (migration 0002); the checks here come
first to say it plainly.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import Sum

from billing.integrity import fetch_one, named, require_aware
from billing.models import Account, BillingPeriod, Issuer, Journal, LedgerAccount, Party, Posting


class UnbalancedError(Exception):
    """The postings of a journal do not sum to zero in each currency, or there are none."""


class ZeroPostingError(Exception):
    """A posting of nothing is left out."""


class PeriodClosedError(Exception):
    """A closed period takes no journal and no invoice, and is never opened again."""


class DateOutsidePeriodError(Exception):
    """The effective date is not in the journal's period."""


class OtherIssuerError(Exception):
    """Period, account and ledger account of a journal belong to one issuer."""


class JournalDiffersError(Exception):
    """The key is known with other facts."""


class AlreadyReversedError(Exception):
    """A journal is reversed once."""


class NoOpenPeriodError(Exception):
    """The issuer has no open period to post into."""


VIOLATIONS = {
    "journal_balanced": UnbalancedError,
    "journal_has_postings": UnbalancedError,
    "posting_not_zero": ZeroPostingError,
    "journal_period_open": PeriodClosedError,
    "journal_dated_in_period": DateOutsidePeriodError,
    "journal_of_one_issuer": OtherIssuerError,
    "posting_of_one_issuer": OtherIssuerError,
    "ledger_account_owner_of_issuer": OtherIssuerError,
    "billing_journal_reverses_id_key": AlreadyReversedError,
}


class Wanted(NamedTuple):
    """One account of a book: what it is, and the account or party it is kept for."""

    name: str
    kind: str
    account_id: int | None = None
    party_id: int | None = None


def account(
    *,
    issuer: Issuer,
    name: str,
    kind: LedgerAccount.Kind,
    currency: str,
    account: Account | None = None,
    party: Party | None = None,
) -> LedgerAccount:
    """The ledger account of that name, currency and owner; opened if there is none. Raises OtherIssuerError."""
    wanted = Wanted(name, kind, account.pk if account else None, party.pk if party else None)
    return LedgerAccount.objects.get(pk=accounts(issuer=issuer, currency=currency, wanted=[wanted])[wanted])


def accounts(*, issuer: Issuer, currency: str, wanted: Sequence[Wanted]) -> dict[Wanted, int]:
    """The ids of ledger accounts; those that are missing are opened. Raises OtherIssuerError."""
    if not wanted:
        return {}
    with named(VIOLATIONS), transaction.atomic(savepoint=False), connection.cursor() as cursor:
        found = _ids(issuer, currency, wanted)
        missing = [each for each in wanted if each not in found]
        if missing:
            cursor.execute(
                "INSERT INTO billing_ledgeraccount (issuer_id, currency, name, kind, account_id, party_id)"
                " SELECT %s, %s, * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) ON CONFLICT DO NOTHING",
                [issuer.pk, currency, *map(list, zip(*missing, strict=True))],
            )
            found = _ids(issuer, currency, wanted)
    return found


def _ids(issuer: Issuer, currency: str, wanted: Sequence[Wanted]) -> dict[Wanted, int]:
    columns = map(list, zip(*wanted, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(
            _IDS, {"issuer": issuer.pk, "currency": currency, **dict(zip(Wanted._fields, columns, strict=True))}
        )
        return {Wanted(*row[:4]): row[4] for row in cursor.fetchall()}


# By the owner, for whom there is an index: none serves IS NOT DISTINCT FROM, by which it would be one condition.
_IDS = """
    WITH wanted AS (
        SELECT * FROM unnest(%(name)s::text[], %(kind)s::text[], %(account_id)s::bigint[], %(party_id)s::bigint[])
            AS wanted (name, kind, account_id, party_id)
    ), found AS (
        SELECT ledger.* FROM wanted JOIN billing_ledgeraccount ledger ON ledger.account_id = wanted.account_id
        UNION
        SELECT ledger.* FROM wanted JOIN billing_ledgeraccount ledger ON ledger.party_id = wanted.party_id
        UNION
        SELECT * FROM billing_ledgeraccount WHERE issuer_id = %(issuer)s AND account_id IS NULL AND party_id IS NULL
    )
    SELECT wanted.*, found.id FROM wanted JOIN found ON (found.name, found.kind) = (wanted.name, wanted.kind)
        AND found.account_id IS NOT DISTINCT FROM wanted.account_id
        AND found.party_id IS NOT DISTINCT FROM wanted.party_id
    WHERE found.issuer_id = %(issuer)s AND found.currency = %(currency)s
"""


def post(
    *,
    issuer: Issuer,
    key: str,
    period: BillingPeriod,
    effective_date: date,
    source: str,
    postings: Iterable[tuple[LedgerAccount, int]],
    at: datetime,
    actor: str,
    reverses: Journal | None = None,
) -> Journal:
    """Post a journal, once for each key of an issuer: the same facts again give the journal that is there.

    postings: (ledger account, amount in minor units of its currency); debit positive. Their order is kept. Raises
    UnbalancedError, ZeroPostingError, PeriodClosedError, DateOutsidePeriodError, OtherIssuerError, AlreadyReversedError,
    JournalDiffersError.
    """
    lines = list(postings)
    for ledger_account, amount_minor in lines:
        if not amount_minor:
            raise ZeroPostingError(f"journal {key}: its posting to {ledger_account} is 0: expected it left out")
    sums: Counter[str] = Counter()
    for ledger_account, amount_minor in lines:
        sums[ledger_account.currency] += amount_minor
    unequal = [f"{currency} {rest}" for currency, rest in sorted(sums.items()) if rest]
    if unequal or not lines:
        raise UnbalancedError(
            f"journal {key}: its postings sum to {', '.join(unequal) or 'nothing'}: expected 0 of each currency"
        )
    with named(VIOLATIONS), transaction.atomic():
        journal_id = insert(
            issuer=issuer,
            key=key,
            period=period,
            effective_date=effective_date,
            source=source,
            postings=[(ledger_account.pk, amount_minor) for ledger_account, amount_minor in lines],
            at=at,
            actor=actor,
            reverses=reverses,
        )
    return Journal.objects.get(pk=journal_id)


def insert(
    *,
    issuer: Issuer,
    key: str,
    period: BillingPeriod,
    effective_date: date,
    source: str,
    postings: Sequence[tuple[int, int]],
    at: datetime,
    actor: str,
    reverses: Journal | None = None,
) -> int:
    """post() within the caller's transaction, with ids of ledger accounts: for many journals. Gives the journal's id.

    The caller names the database's errors with VIOLATIONS.
    """
    require_aware("at", at)
    facts = [issuer.pk, key, period.pk, effective_date, source, reverses and reverses.pk, at, actor]
    row = fetch_one(_JOURNAL, [*facts, *map(list, zip(*postings, strict=True))])
    if row is not None:
        return int(row[0])
    return _same(
        issuer=issuer,
        key=key,
        period=period,
        effective_date=effective_date,
        source=source,
        postings=postings,
        reverses=reverses,
    )


# One statement: nothing is posted where the key is known, and the database holds the sides of a statement to zero.
_JOURNAL = """
    WITH journal AS (
        INSERT INTO billing_journal (issuer_id, key, period_id, effective_date, source, reverses_id, posted_at, actor)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (issuer_id, key) DO NOTHING RETURNING id
    ), posting AS (
        INSERT INTO billing_posting (journal_id, ledger_account_id, amount_minor)
        SELECT journal.id, side.ledger_account_id, side.amount_minor
        FROM journal, unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS side (ledger_account_id, amount_minor, place)
        ORDER BY place
    )
    SELECT id FROM journal
"""


def _same(
    *,
    issuer: Issuer,
    key: str,
    period: BillingPeriod,
    effective_date: date,
    source: str,
    postings: Sequence[tuple[int, int]],
    reverses: Journal | None,
) -> int:
    """The id of the journal of that key. When it was posted and by whom may differ: a retry is later."""
    journal = Journal.objects.get(issuer=issuer, key=key)
    stored = list(journal.postings.order_by("id").values_list("ledger_account_id", "amount_minor"))
    facts = {
        "period": (journal.period_id, period.pk),
        "effective_date": (journal.effective_date, effective_date),
        "source": (journal.source, source),
        "reverses": (journal.reverses_id, reverses and reverses.pk),
        "postings": (stored, list(postings)),
    }
    for field, (there, given) in facts.items():
        if there != given:
            raise JournalDiffersError(f"journal {key}: {field} is {there}, not {given}; it was posted before and stays")
    return journal.pk


def reverse(*, journal: Journal, at: datetime, actor: str) -> Journal:
    """Undo a journal by opposite postings, in its own period if that is open, else in the first open one after it that
    has begun by `at`.

    The date is the local day of `at`, or the nearest day of that period. Again: the reversal that is there. Raises
    NoOpenPeriodError.
    """
    require_aware("at", at)
    done = Journal.objects.filter(reverses=journal).first()
    if done is not None:
        return done
    own = journal.period
    with transaction.atomic():
        period = (
            BillingPeriod.objects.filter(
                issuer_id=journal.issuer_id,
                state=BillingPeriod.State.OPEN,
                start_at__gte=own.start_at,
                start_at__lte=at,
            )
            .order_by("start_at")
            .first()
        )
        if period is None:
            raise NoOpenPeriodError(
                f"issuer {journal.issuer.code} has no open period from {own.code} on that has begun by at,"
                f" {at.isoformat()}: open the one of that time"
            )
        zone = ZoneInfo(period.timezone)
        first_date = period.start_at.astimezone(zone).date()
        postings = [
            (each.ledger_account, -each.amount_minor)
            for each in journal.postings.select_related("ledger_account").order_by("id")
        ]
        return post(
            issuer=journal.issuer,
            key=f"reverse:{journal.key}",
            period=period,
            effective_date=min(max(at.astimezone(zone).date(), first_date), period.last_date),
            source=journal.source,
            postings=postings,
            at=at,
            actor=actor,
            reverses=journal,
        )


def balance(*, ledger_account: LedgerAccount, to_date: date | None = None) -> int:
    """The sum of an account's postings in minor units, debit positive, to the end of that effective date (all if None)."""
    postings = Posting.objects.filter(ledger_account=ledger_account)
    if to_date is not None:
        postings = postings.filter(journal__effective_date__lte=to_date)
    return postings.aggregate(sum=Sum("amount_minor"))["sum"] or 0
