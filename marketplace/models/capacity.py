"""Where capacity is, how much there is in each hour, and what of it is taken."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Site(models.Model):
    """A data centre of a provider."""

    provider = models.ForeignKey(
        "marketplace.Organization", on_delete=models.PROTECT, related_name="sites", verbose_name=_("provider")
    )
    code = models.SlugField(_("code"), max_length=40)
    name = models.CharField(_("name"), max_length=100)
    name_en = models.CharField(_("English name"), max_length=100, blank=True)
    region = models.CharField(_("region"), max_length=60)
    address = models.CharField(_("address"), max_length=300, blank=True)

    class Meta:
        ordering = ["provider_id", "code"]
        verbose_name = _("site")
        verbose_name_plural = _("sites")
        constraints = [
            models.UniqueConstraint(fields=["provider", "code"], name="site_once"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(region=""), name="site_named"),
        ]

    def __str__(self) -> str:
        return self.name


class CapacityPool(models.Model):
    """Equal GPUs at one site behind one backend. `gpus` is how many there are now, and in every hour that neither a slot
    nor a CapacityChange says otherwise of. It changes by `capacity.set_capacity`.

    From `drains_at` on nothing more can be taken (null: no drain). `notice_hours`: how long before it takes capacity back
    the provider tells those who have reserved it.
    """

    class Backend(models.TextChoices):
        MANUAL = "manual", _("By hand")

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="pools", verbose_name=_("site"))
    accelerator = models.ForeignKey(
        "marketplace.AcceleratorModel",
        on_delete=models.PROTECT,
        related_name="pools",
        verbose_name=_("accelerator model"),
    )
    code = models.SlugField(_("code"), max_length=40)
    name = models.CharField(_("name"), max_length=100)
    name_en = models.CharField(_("English name"), max_length=100, blank=True)
    interconnect = models.CharField(_("interconnect"), max_length=60, blank=True)
    gpus = models.PositiveIntegerField(_("GPUs"))
    gpus_per_node = models.PositiveIntegerField(_("GPUs a node"), default=8)
    backend = models.CharField(_("backend"), max_length=20, choices=Backend, default=Backend.MANUAL)
    notice_hours = models.PositiveIntegerField(_("notice, hours"), default=72)
    drains_at = models.DateTimeField(_("drains from"), null=True, blank=True)
    drain_actor = models.CharField(_("drain set by"), max_length=100, blank=True)

    class Meta:
        ordering = ["site_id", "code"]
        verbose_name = _("capacity pool")
        verbose_name_plural = _("capacity pools")
        constraints = [
            models.UniqueConstraint(fields=["site", "code"], name="capacity_pool_once"),
            models.CheckConstraint(condition=Q(gpus_per_node__gte=1), name="capacity_pool_gpus_per_node"),
            models.CheckConstraint(condition=~Q(name=""), name="capacity_pool_named"),
        ]
        indexes = [
            models.Index(fields=["drains_at"], condition=Q(drains_at__isnull=False), name="capacity_pool_draining")
        ]

    def __str__(self) -> str:
        return self.name


class CapacityChange(models.Model):
    """From `from_at`, a whole hour, until the pool's next change the pool has `gpus`. Written by `capacity.set_capacity` alone.

    With the first change of a pool comes one from 1970 on that says what there was before.
    """

    pool = models.ForeignKey(
        CapacityPool, on_delete=models.PROTECT, related_name="capacity_changes", db_index=False, verbose_name=_("pool")
    )
    from_at = models.DateTimeField(_("from"))
    gpus = models.PositiveIntegerField(_("GPUs"))
    cause = models.CharField(_("cause"), max_length=300, blank=True)
    at = models.DateTimeField(_("changed at"))
    actor = models.CharField(_("changed by"), max_length=100)

    class Meta:
        ordering = ["pool_id", "from_at"]
        verbose_name = _("change of capacity")
        verbose_name_plural = _("changes of capacity")
        constraints = [models.UniqueConstraint(fields=["pool", "from_at"], name="capacity_change_once")]

    def __str__(self) -> str:
        return self.from_at.isoformat()


class CapacitySlot(models.Model):
    """One hour of one pool: what is there and what of it is taken. A missing slot is a free hour.

    Written by `marketplace.capacity` alone. `shortfall` is how much more is taken than is there, after capacity was lost;
    an open incident names it.
    """

    pk = models.CompositePrimaryKey("pool_id", "hour")
    pool = models.ForeignKey(CapacityPool, on_delete=models.PROTECT, related_name="slots", db_index=False)
    hour = models.DateTimeField()
    capacity = models.PositiveIntegerField()
    taken = models.PositiveIntegerField(default=0)
    shortfall = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(taken__gte=0) & Q(taken__lte=F("capacity") + F("shortfall")),
                name="capacity_slot_not_overbooked",
            ),
        ]

    def __str__(self) -> str:
        return self.hour.isoformat()


class Maintenance(models.Model):
    """GPUs of a pool that are out of service over [start_at, end_at), whole hours. They take slots as a reservation does."""

    class State(models.TextChoices):
        PLANNED = "planned", _("Planned")
        DONE = "done", _("Done")
        CANCELLED = "cancelled", _("Cancelled")

    pool = models.ForeignKey(
        CapacityPool, on_delete=models.PROTECT, related_name="maintenances", verbose_name=_("pool")
    )
    quantity = models.PositiveIntegerField(_("GPUs"))
    start_at = models.DateTimeField(_("from"))
    end_at = models.DateTimeField(_("until"))
    reason = models.CharField(_("reason"), max_length=300)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PLANNED)
    created_at = models.DateTimeField(_("planned at"))
    actor = models.CharField(_("planned by"), max_length=100)
    ended_by = models.CharField(_("ended by"), max_length=100, blank=True)

    class Meta:
        ordering = ["start_at", "id"]
        verbose_name = _("maintenance window")
        verbose_name_plural = _("maintenance windows")
        constraints = [
            models.CheckConstraint(condition=Q(end_at__gt=F("start_at")), name="maintenance_ends_after_start"),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="maintenance_quantity"),
        ]

    def __str__(self) -> str:
        return self.reason


class Incident(models.Model):
    """Something wrong with a pool: capacity that fell below what is taken (`shortfall`), or an outage.

    `quantity` GPUs are affected over [start_at, end_at); open until `closed_at`. A shortfall's are the most that are missing
    in an hour, and its hours the first and the last that lack any: how many each lacks stands in its slot.
    """

    class Kind(models.TextChoices):
        SHORTFALL = "shortfall", _("Less capacity than is reserved")
        OUTAGE = "outage", _("Outage")

    pool = models.ForeignKey(CapacityPool, on_delete=models.PROTECT, related_name="incidents", verbose_name=_("pool"))
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    quantity = models.PositiveIntegerField(_("GPUs"))
    start_at = models.DateTimeField(_("from"))
    end_at = models.DateTimeField(_("until"), null=True, blank=True)
    cause = models.CharField(_("cause"), max_length=300)
    opened_at = models.DateTimeField(_("opened at"))
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)
    actor = models.CharField(_("opened by"), max_length=100)
    closed_by = models.CharField(_("closed by"), max_length=100, blank=True)

    class Meta:
        ordering = ["-opened_at", "-id"]
        verbose_name = _("incident")
        verbose_name_plural = _("incidents")
        constraints = [
            models.CheckConstraint(
                condition=Q(end_at__isnull=True) | Q(end_at__gt=F("start_at")), name="incident_ends_after_start"
            ),
            models.UniqueConstraint(
                fields=["pool"],
                condition=Q(kind="shortfall", closed_at__isnull=True),
                name="incident_one_open_shortfall",
            ),
        ]

    def __str__(self) -> str:
        return self.cause
