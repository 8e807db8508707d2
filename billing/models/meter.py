"""What is measured, and in which unit it is priced."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Meter(models.Model):
    """One kind of usage. Events name its `event_type`; tariffs name its `code`.

    A delta's event says that `value` was used at its time. A gauge's event says that `value` held from its time on: for
    `duration_seconds`, if it states them, else until the next sample of its source, at most `max_gap_seconds`. A
    cumulative meter's event is the state of a counter, one per source, that only grows: what it grew by since the
    sample before was used; one that is less than before has begun again at zero.

    What a reading says of its interval, in base units, of which `base_per_unit` make one priced unit (3,600 GPU-seconds a
    GPU-hour):

    sum           delta: the values. Gauge: value x stated seconds, samples at the same time added, split exactly at edges.
                  Cumulative: what the counters grew by, in the interval that ends at or after the sample.
    count         how many events begin in it, whatever their value.
    max, min      delta: the greatest or least value. Gauge: of those that held in it.
    latest        the value of the last sample: the latest to begin in it, or still holding.
    unique_count  how many different values, numbers or texts, begin in it.
    time_weighted gauge: value x seconds held, where a source's sample ends at its next one, summed over the sources and
                  rounded down. A time without a sample in force is a gap: nothing is counted.

    Of samples at the same instant, the one with the greater value is taken for the later.
    """

    class Kind(models.TextChoices):
        GAUGE = "gauge", _("Gauge")
        DELTA = "delta", _("Delta")
        CUMULATIVE = "cumulative", _("Counter")

    class Aggregation(models.TextChoices):
        SUM = "sum", _("Total")
        COUNT = "count", _("Number of events")
        MAX = "max", _("Greatest")
        MIN = "min", _("Least")
        LATEST = "latest", _("Latest value")
        UNIQUE_COUNT = "unique_count", _("Number of different values")
        TIME_WEIGHTED = "time_weighted", _("Weighted by time")

    code = models.SlugField(_("code"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=100)
    name_en = models.CharField(_("name in English"), max_length=100, blank=True)
    event_type = models.CharField(_("event type"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    aggregation = models.CharField(_("aggregation"), max_length=20, choices=Aggregation)
    value_field = models.CharField(_("field of the value"), max_length=40, default="value")
    duration_field = models.CharField(_("field of the duration"), max_length=40, default="duration_seconds")
    max_gap_seconds = models.PositiveIntegerField(_("longest gap, in seconds"), default=900)
    base_unit = models.CharField(_("base unit"), max_length=40)
    unit = models.CharField(_("priced unit"), max_length=40)
    demand_unit = models.CharField(_("unit of demand"), max_length=40)
    base_per_unit = models.PositiveIntegerField(_("base units in a priced unit"))

    class Meta:
        verbose_name = _("meter")
        verbose_name_plural = _("meters")
        constraints = [
            models.CheckConstraint(condition=Q(base_per_unit__gte=1), name="meter_base_per_unit_positive"),
            models.CheckConstraint(condition=Q(kind__in=["gauge", "delta", "cumulative"]), name="meter_kind_known"),
            models.CheckConstraint(
                condition=Q(aggregation__in=["sum", "count", "max", "min", "latest", "unique_count", "time_weighted"]),
                name="meter_aggregation_known",
            ),
            models.CheckConstraint(
                condition=(~Q(kind="cumulative") | Q(aggregation="sum"))
                & (~Q(aggregation="time_weighted") | Q(kind="gauge")),
                name="meter_kind_has_aggregation",
            ),
            models.CheckConstraint(
                condition=Q(max_gap_seconds__gte=1, max_gap_seconds__lte=86_400), name="meter_max_gap_in_a_day"
            ),
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def is_series(self) -> bool:
        """Whether an event's part in a reading depends on other events, so that readings are recomputed from them."""
        return self.kind == self.Kind.CUMULATIVE or self.aggregation not in ("sum", "count", "max")

    @property
    def needs_duration(self) -> bool:
        """Whether a sample has to state how long it held: those that are counted as they come."""
        return self.kind == self.Kind.GAUGE and self.aggregation in ("sum", "max")


class EventSource(models.Model):
    """A sender of events: (owner of the key, CloudEvents `source`). Stored once, so that an event's key stays short."""

    owner = models.ForeignKey(
        "billing.Party", on_delete=models.PROTECT, related_name="event_sources", verbose_name=_("sender")
    )
    name = models.CharField(_("source"), max_length=255)

    class Meta:
        verbose_name = _("sender of events")
        verbose_name_plural = _("senders of events")
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="event_source_once"),
            models.CheckConstraint(condition=~Q(name=""), name="event_source_named"),
        ]

    def __str__(self) -> str:
        return self.name
