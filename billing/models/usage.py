"""Events as they came, and the readings they make."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Exists, ExpressionWrapper, F, OuterRef, Q, Value
from django.db.models.functions import Coalesce

from billing.models.invoice import Invoice
from billing.models.meter import EventSource, Meter

_MATCHED = Q(
    contract__isnull=False,
    meter__isnull=False,
    value__isnull=False,
    quantity__isnull=False,
    type__isnull=True,
    subject__isnull=True,
    unmatched_reason__isnull=True,
)
_UNMATCHED = Q(
    contract__isnull=True,
    meter__isnull=True,
    type__isnull=False,
    subject__isnull=False,
    unmatched_reason__isnull=False,
) & (Q(value__isnull=True, data__isnull=False) | Q(value__isnull=False, data__isnull=True))


class UsageEventQuerySet(models.QuerySet["UsageEvent"]):
    def recorded_after_invoice(self) -> UsageEventQuerySet:
        """The matched events that were recorded later than an invoice of their time was issued to their contract's
        account: they are in readings, and on no invoice. A sample that reaches into an invoiced period is one of them.
        Of what was corrected the amendment in force is one; what it amends is none, nor what is retracted, nor a
        retraction: they count for nothing.

        An event that was recorded before the invoice and matched after it is one of them.
        """
        until = ExpressionWrapper(
            F("time") + F("duration_seconds") * Value(timedelta(seconds=1)), models.DateTimeField()
        )
        begun = Q(period__start_at__lte=OuterRef("time")) | Q(period__start_at__lt=OuterRef("until"))
        invoices = Invoice.objects.filter(
            begun,
            state=Invoice.State.ISSUED,
            kind=Invoice.Kind.INVOICE,
            account__contracts=OuterRef("contract_id"),
            period__end_at__gt=OuterRef("time"),
            issued_at__lt=OuterRef("counted_at"),
        )
        of_source = Correction.objects.filter(source_id=OuterRef("source_id"))
        corrected = of_source.filter(event_id=OuterRef("event_id"))
        retraction = of_source.filter(by_event_id=OuterRef("event_id"), is_retraction=True)
        counted_at = Coalesce("matched_at", "recorded_at")
        return self.annotate(until=until, counted_at=counted_at).filter(
            Exists(invoices), ~Exists(corrected), ~Exists(retraction)
        )


class UsageEvent(models.Model):
    """One event, counted once for ever by (owner, source, id). Append-only; written by `billing.usage` alone.

    `value` is what was sent, exactly; `quantity` what it counts for, in base units over its whole duration (for the
    aggregation "max" and those of a series: the value itself, rounded down; for "count" and "unique_count": 1, and for
    the latter `data` has the value, which may be a text). `in_series` is true where the meter's readings are recomputed
    from events (Meter.is_series), for the indexes of those alone. An unmatched event has no contract and no meter: it keeps the
    type and the subject it came with, and why it was not matched; where that is no meter of its type, its whole data too.
    `matched_at` says when that was mended; it is null of an event that was matched as it came.
    """

    pk = models.CompositePrimaryKey("source_id", "event_id")
    # No foreign keys in the database: checking three of them row by row made storing three times as slow (58,000 events/s
    # against 173,000). Sources are append-only; a matched event has a reading, whose foreign keys hold contract and meter.
    source = models.ForeignKey(
        EventSource, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    event_id = models.CharField(max_length=255, db_collation="C")
    contract = models.ForeignKey(
        "billing.Contract", on_delete=models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    meter = models.ForeignKey(
        Meter, on_delete=models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    time = models.DateTimeField()
    duration_seconds = models.PositiveIntegerField(default=0)
    value = models.DecimalField(max_digits=38, decimal_places=9, null=True)
    quantity = models.BigIntegerField(null=True)
    recorded_at = models.DateTimeField()
    matched_at = models.DateTimeField(null=True)
    type = models.CharField(max_length=255, null=True)
    subject = models.CharField(max_length=255, null=True)
    data = models.JSONField(null=True)
    unmatched_reason = models.CharField(max_length=40, null=True)
    in_series = models.BooleanField(default=False, db_default=False)

    objects = UsageEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=_MATCHED | _UNMATCHED, name="usage_event_matched_or_reasoned"),
            models.CheckConstraint(condition=Q(quantity__gte=0, value__gte=0), name="usage_event_not_negative"),
        ]
        indexes = [
            # Finds the events of a reading. A B-tree on (contract, meter, time) took a quarter of the speed of storing,
            # this nothing that could be measured. "multi": a late event among others does not widen its block's range.
            BrinIndex(
                fields=["time"],
                name="usage_event_time",
                opclasses=["timestamptz_minmax_multi_ops"],
                autosummarize=True,
            ),
            # Finds what came since a time; events come in its order.
            BrinIndex(fields=["recorded_at"], name="usage_event_recorded", autosummarize=True),
            # The few that were matched later.
            models.Index(fields=["matched_at"], name="usage_event_matched", condition=Q(matched_at__isnull=False)),
            # Samples longer than a reading's interval, which begin far from it.
            models.Index(
                fields=["contract", "meter", "time"], name="usage_event_long", condition=Q(duration_seconds__gt=900)
            ),
            models.Index(
                fields=["type", "subject"], name="usage_event_unmatched", condition=Q(unmatched_reason__isnull=False)
            ),
            models.Index(fields=["contract", "meter", "time"], name="usage_event_series", condition=Q(in_series=True)),
            models.Index(
                fields=["contract", "meter", "source", "time"],
                name="usage_event_series_of_source",
                condition=Q(in_series=True),
            ),
        ]

    def __str__(self) -> str:
        return self.event_id


class Correction(models.Model):
    """An event that is no longer in force, and the later event of the same source that took its place. Append-only.

    An amendment counts instead of it. A retraction counts for nothing: it repeats what it takes back. What was corrected
    once is corrected again by amending or retracting its amendment; a retraction is final.
    """

    pk = models.CompositePrimaryKey("source_id", "event_id")
    source = models.ForeignKey(
        EventSource, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    event_id = models.CharField(max_length=255, db_collation="C")
    by_event_id = models.CharField(max_length=255, db_collation="C")
    is_retraction = models.BooleanField()
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "by_event_id"], name="correction_corrects_one"),
            models.CheckConstraint(condition=~Q(event_id=F("by_event_id")), name="correction_of_another"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} by {self.by_event_id}"


class Reading(models.Model):
    """What a contract used on a meter in one interval: `quantity` base units in [start_at, start_at + 15 minutes).

    Intervals are aligned to UTC. For the aggregation "max" it is the greatest value in the interval.
    """

    pk = models.CompositePrimaryKey("contract_id", "meter_id", "start_at")
    contract = models.ForeignKey("billing.Contract", on_delete=models.PROTECT, related_name="+", db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    start_at = models.DateTimeField()
    quantity = models.BigIntegerField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(quantity__gte=0), name="reading_not_negative")]

    def __str__(self) -> str:
        return self.start_at.isoformat()
