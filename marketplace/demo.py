"""The demo: an empty database becomes a zone with a month of usage and its issued invoices.

`build` goes through stages. Each may be killed anywhere and run again: it goes on where it stopped, with the same
result. What a database was made from stands in `Zone.made_from`, so that two demos are never mixed.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Model, QuerySet, Sum
from django.db.models.functions import TruncDate

from billing import calendars, contracts, invoicing, parties, tariffs, usage
from billing.documents.files import WORTH_MORE_PROCESSES, write_invoices
from billing.documents.labels import LANGUAGES
from billing.models import BillingPeriod, Invoice, Party, Reading, Tariff
from marketplace import demo_market, metering
from marketplace.demo_people import Login, emails, enrol
from marketplace.demo_plan import Firm, Plan, firm, setting, tariff_document
from marketplace.demo_programme import found_programme, grant
from marketplace.demo_usage import SAMPLE_SECONDS, samples
from marketplace.models import AcceleratorModel, Organization, Zone

ACTOR = "command:demo"
BATCH = 10_000
_LOCK = 0x5375616E6C69  # "Suanli"

Progress = Callable[[int], object]
Stage = Callable[[str, int, str], AbstractContextManager[Progress]]
"""Called with a stage's title, its number of steps and what a step is; gives what is told of the steps done."""


class OtherContentsError(Exception):
    """The database holds something else than this demo."""


class UsageLostError(Exception):
    """Not every sample of the demo was counted."""


class NotInvoicedError(Exception):
    """A buyer of the demo can't be charged."""


class Row(NamedTuple):
    """What the demo shows of one invoice. Amounts in minor units."""

    number: str
    account: str
    name: str
    name_en: str
    gpu_seconds: int
    net_minor: int
    tax_minor: int
    gross_minor: int
    subsidy_minor: int
    payable_minor: int


class Built(NamedTuple):
    """Whether there was work to do, the month's billing period, and who can sign in."""

    was_work: bool
    period: BillingPeriod
    logins: list[Login]


def build(*, plan: Plan, documents: Path, passwords: Path, processes: int, stage: Stage) -> Built:
    """Bring the database to what `plan` says, the invoices as PDF into `documents`, and the file `passwords` to what the
    demo's people sign in with.

    Raises OtherContentsError, before it changes anything, if the database holds something else.
    """
    with _alone():
        refuse_other_contents(plan=plan)
        with stage("Database", 1, "schema") as progress:
            call_command("migrate", verbosity=0)
            period = found(plan=plan)
            progress(1)
    is_open = period.state == BillingPeriod.State.OPEN
    if is_open:
        with stage("Buyers", len(plan.buyers), "buyers") as progress:
            sign_up(plan=plan, progress=progress)
        with stage("Usage", plan.samples, "samples") as progress:
            meter(plan=plan, progress=progress)
        with stage("Invoices", len(plan.buyers), "invoices") as progress:
            close(plan=plan, period=period, processes=processes, progress=progress)
    with _alone(), stage("Market", len(demo_market.cast()["offerings"]), "offerings") as progress:
        party = Party.objects.get(credit_code=firm(setting()["provider"]).credit_code)
        were_listed = demo_market.put_on_sale(provider=party.organization, at=plan.period.start, progress=progress)
    with _alone(), stage("People", len(emails()), "users") as progress:
        were_enrolled, logins = enrol(plan=plan, file=passwords, progress=progress)
    with stage("PDF", len(LANGUAGES) * len(plan.buyers), "files") as progress:
        written = render(period=period, directory=documents, processes=processes, progress=progress)
    return Built(is_open or were_listed or were_enrolled or written > 0, period, logins)


@contextmanager
def _alone() -> Iterator[None]:
    """One demo at a time on this database: the others wait. A killed one's lock goes with its connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def refuse_other_contents(*, plan: Plan) -> None:
    """Raise OtherContentsError unless the database is empty or holds this plan's demo, whole or in part."""
    there = _other_contents(plan)
    if there is None:
        return
    if folder := settings.DATABASES["default"].get("EMBEDDED_IN"):
        where, remedy = f"DATA_DIR={Path(folder).parent}", "set DATA_DIR to another folder, or delete that one"
    else:
        where, remedy = "The database of DATABASE_URL", "name an empty one, or unset DATABASE_URL and set DATA_DIR"
    raise OtherContentsError(f"{where} holds {there}, not a demo of {plan.made_from}: {remedy}.")


def _other_contents(plan: Plan) -> str | None:
    tables = set(connection.introspection.table_names())
    alien = tables - set(connection.introspection.django_table_names()) - {"django_migrations"}
    if alien:
        return f"tables of another program, such as {min(alien)}"
    if _table(Zone) in tables:  # else its migrations have not come so far
        zones = list(Zone.objects.order_by("id").values_list("made_from", flat=True))
        if zones == [plan.made_from]:
            return None
        if zones:
            return f"a demo of {zones[0]}" if len(zones) == 1 and zones[0] else "a zone that no demo made"
    for app in ("marketplace", "billing"):
        for model in apps.get_app_config(app).get_models():
            ships = model is AcceleratorModel  # its rows come with the schema
            if not ships and _table(model) in tables and QuerySet(model).exists():
                return f"rows in {_table(model)} that no demo made"
    return None


def _table(model: type[Model]) -> str:
    return model._meta.db_table  # noqa: SLF001  - Django's documented API


def found(*, plan: Plan) -> BillingPeriod:
    """The zone, its operator as issuer, its meter, and the month as an open billing period. One transaction."""
    cast = setting()
    with transaction.atomic():
        operator = _register(firm(cast["operator"]), plan)
        issuer = parties.appoint_issuer(party=operator, **cast["issuer"])
        zone, _ = Zone.objects.get_or_create(**cast["zone"], issuer=issuer, made_from=plan.made_from)
        Organization.objects.get_or_create(zone=zone, party=operator, name=operator.legal_name, is_operator=True)
        metering.gpu_meter()
        return invoicing.open_period(issuer=issuer, code=plan.period_code)


def sign_up(*, plan: Plan, progress: Progress) -> None:
    """Provider, tariff, programme and buyers: for each buyer an account, a contract with what it reserves, and the plan's
    programme. Resumes.
    """
    zone = Zone.objects.select_related("issuer__party").get()
    tariffs.publish(document=tariff_document(plan.tariff), at=plan.period.start, actor=ACTOR)
    tariff = Tariff.objects.get(code=plan.tariff)
    provider = _register(firm(setting()["provider"]), plan)
    Organization.objects.get_or_create(zone=zone, party=provider, name=provider.legal_name, is_provider=True)
    programme = found_programme(plan=plan, issuer=zone.issuer)
    for buyer in plan.buyers:
        with transaction.atomic():
            party = _register(buyer.firm, plan)
            Organization.objects.get_or_create(zone=zone, party=party, name=party.legal_name, is_buyer=True)
            account = parties.open_account(
                issuer=zone.issuer, code=buyer.code, party=party, at=plan.period.start, language=buyer.language
            )
            contract = contracts.sign(
                number=buyer.contract,
                account=account,
                tariff=tariff,
                provider=provider,
                fee_percent=Decimal(setting()["provider"]["fee_percent"]),
                start_at=plan.period.start,
                actor=ACTOR,
            )
            for place, (quantity, start_at, end_at) in enumerate(buyer.reserved, 1):
                contracts.reserve(
                    contract=contract, quantity=quantity, start_at=start_at, end_at=end_at, source=f"demo:{place}"
                )
            if programme is not None:
                grant(programme=programme, party=party, plan=plan)
        progress(1)


def _register(facts: Firm, plan: Plan) -> Party:
    return parties.register(
        legal_name=facts.name,
        legal_name_en=facts.name_en,
        credit_code=facts.credit_code,
        address=facts.address,
        at=plan.period.start,
    )


def meter(*, plan: Plan, progress: Progress) -> None:
    """Record the month's samples; those that are there already count as duplicates. Raises UsageLostError."""
    provider = Party.objects.get(credit_code=firm(setting()["provider"]).credit_code)
    counts: Counter[str] = Counter()
    problem = ""
    if plan.trace is not None:
        loaded = metering.load_trace(
            path=plan.trace,
            format="helios",
            provider=provider,
            contracts={buyer.code: buyer.contract for buyer in plan.buyers},
            at=plan.close_at,
            progress=progress,
        )
        counts.update(loaded.counts)
        if loaded.problems:
            first = loaded.problems[0]
            problem = f"; the first, {first.id}, is {first.outcome}: {first.field}: {first.reason}"
    else:
        events = _events(plan)
        while batch := list(islice(events, BATCH)):
            counts.update(usage.record(owner=provider, events=batch, at=plan.close_at).counts)
            progress(len(batch))
    if counts["counted"] + counts["duplicate"] != plan.samples:
        became = ", ".join(f"{outcome} {count}" for outcome, count in counts.items() if count)
        raise UsageLostError(
            f"{plan.title}: {plan.samples} samples became {became}: expected each one counted or duplicate{problem}"
        )


def _events(plan: Plan) -> Iterator[usage.Event]:
    start = plan.period.start.astimezone(ZoneInfo(plan.timezone))
    end = plan.period.end.astimezone(ZoneInfo(plan.timezone))
    gpu_sample = metering.gpu_meter().event_type
    for buyer in plan.buyers:
        assert buyer.workload is not None
        month = samples(
            code=buyer.code,
            workload=buyer.workload,
            seed=plan.seed,
            start=start,
            end=end,
            calendar=calendars.by_code()["CN"],
        )
        for at, gpus in month:
            yield usage.Event(
                id=f"{buyer.code}/{at:%Y-%m-%dT%H:%M}",
                source="demo",
                type=gpu_sample,
                subject=buyer.contract,
                time=at.astimezone(UTC),
                data={"value": gpus, "duration_seconds": SAMPLE_SECONDS},
            )


def close(*, plan: Plan, period: BillingPeriod, processes: int, progress: Progress) -> None:
    """Issue the month's invoices and close it. Raises NotInvoicedError."""
    told = 0

    def tell(done: int, _total: int) -> None:
        nonlocal told
        progress(done - told)
        told = done

    closed = invoicing.close_period(period=period, at=plan.close_at, actor=ACTOR, processes=processes, progress=tell)
    if closed.refused:
        first = closed.refused[0]
        raise NotInvoicedError(f"{plan.title}: account {first.account} is not invoiced: {first.reason}")


def render(*, period: BillingPeriod, directory: Path, processes: int, progress: Progress) -> int:
    """Write each invoice of the month in each language; how many files were not there as they should be."""
    snapshots = issued(period=period).values_list("snapshot", flat=True)
    return write_invoices(
        snapshots=cast("Iterator[str]", snapshots.iterator(chunk_size=100)),  # an issued invoice has one
        folder=directory,
        processes=processes if len(LANGUAGES) * snapshots.count() >= WORTH_MORE_PROCESSES else 1,
        progress=progress,
    )


def issued(*, period: BillingPeriod) -> QuerySet[Invoice]:
    rows = Invoice.objects.filter(period=period, state=Invoice.State.ISSUED, kind=Invoice.Kind.INVOICE)
    return rows.order_by("number")


def summary(*, period: BillingPeriod) -> list[Row]:
    """A row for each issued invoice of the month, by number. Two queries."""
    used = dict(
        _readings(period)
        .values("contract__account_id")
        .annotate(sum=Sum("quantity"))
        .values_list("contract__account_id", "sum")
    )
    return [
        Row(
            number=invoice.number or "",
            account=invoice.account.code,
            name=invoice.account.party.legal_name,
            name_en=invoice.account.party.legal_name_en,
            gpu_seconds=int(used.get(invoice.account_id, 0)),
            net_minor=invoice.net_minor,
            tax_minor=invoice.tax_minor,
            gross_minor=invoice.gross_minor,
            subsidy_minor=invoice.subsidy_minor,
            payable_minor=invoice.payable_minor,
        )
        for invoice in issued(period=period).select_related("account__party").defer("snapshot")
    ]


def daily(*, period: BillingPeriod) -> list[tuple[date, int]]:
    """The GPU-seconds of each local day of the month that has readings. One query."""
    day = TruncDate("start_at", tzinfo=ZoneInfo(period.timezone))
    days = _readings(period).annotate(day=day).values("day").annotate(sum=Sum("quantity")).order_by("day")
    return [(found["day"], int(found["sum"])) for found in days]


def _readings(period: BillingPeriod) -> QuerySet[Reading]:
    return Reading.objects.filter(
        contract__account__issuer=period.issuer_id,
        meter__code="gpu_hours",
        start_at__gte=period.start_at,
        start_at__lt=period.end_at,
    )
