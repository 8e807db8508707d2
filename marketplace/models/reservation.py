"""Quotes, and the reservations that come of them."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.fields.json import KT
from django.utils.translation import gettext_lazy as _


class Quote(models.Model):
    """A frozen price for `quantity` GPUs over [start_at, end_at), whole hours, until `expires_at`. Append-only.

    The price is what `billing` says that the reservation adds to the account's bill under `tariff_version`, if the GPUs
    are in use all the time. `parts`: its lines, [{"charge", "kind", "tou_period", "tier", "month", "quantity", "unit",
    "unit_price", "amount_minor", "why"}]; net = the sum of them. `terms` freezes the offering's cancellation terms and
    service level. With `extends`, it is the price of more hours for a reservation that is there.

    `shares` freezes what programmes promise of it, one for each programme and month, in the order in which they pay:
    [{"grant", "programme", "name", "name_en", "mode", "reduces_tax", "month", "eligible_minor", "wanted_minor",
    "share_minor", "limited_by"}]. `subsidy_minor` is what of that is paid in the buyer's place, `reimbursed_minor` what the buyer pays and
    gets back. Tax is as on an invoice with these shares.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    offering = models.ForeignKey(
        "marketplace.Offering", on_delete=models.PROTECT, related_name="quotes", verbose_name=_("offering")
    )
    organization = models.ForeignKey(
        "marketplace.Organization", on_delete=models.PROTECT, related_name="quotes", verbose_name=_("buyer")
    )
    project = models.ForeignKey(
        "marketplace.Project",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="quotes",
        verbose_name=_("project"),
    )
    extends = models.ForeignKey(
        "marketplace.Reservation", on_delete=models.PROTECT, null=True, blank=True, related_name="extension_quotes"
    )
    tariff_version = models.ForeignKey("billing.TariffVersion", on_delete=models.PROTECT, related_name="+")
    quantity = models.PositiveIntegerField(_("GPUs"))
    start_at = models.DateTimeField(_("from"))
    end_at = models.DateTimeField(_("until"))
    currency = models.CharField(_("currency"), max_length=3)
    net_minor = models.BigIntegerField(_("net"))
    tax_minor = models.BigIntegerField(_("tax"))
    gross_minor = models.BigIntegerField(_("gross"))
    subsidy_minor = models.BigIntegerField(_("promised by programmes"), default=0, db_default=0)
    reimbursed_minor = models.BigIntegerField(_("paid back by programmes"), default=0, db_default=0)
    shares = models.JSONField(_("programmes' shares"), default=list, db_default=[])
    parts = models.JSONField(_("parts of the price"), default=list)
    terms = models.JSONField(_("terms"), default=dict)
    created_at = models.DateTimeField(_("made at"))
    expires_at = models.DateTimeField(_("expires at"))
    actor = models.CharField(_("made by"), max_length=100)

    class Meta:
        ordering = ["-created_at", "id"]
        verbose_name = _("quote")
        verbose_name_plural = _("quotes")
        constraints = [
            models.CheckConstraint(condition=Q(end_at__gt=F("start_at")), name="quote_ends_after_start"),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="quote_quantity"),
            models.CheckConstraint(
                condition=Q(gross_minor=F("net_minor") + F("tax_minor")), name="quote_gross_is_net_plus_tax"
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="quote_expires_later"),
            models.CheckConstraint(
                condition=Q(subsidy_minor=0, reimbursed_minor=0)
                | Q(
                    subsidy_minor__gte=0,
                    reimbursed_minor__gte=0,
                    net_minor__gte=F("subsidy_minor") + F("reimbursed_minor"),
                ),
                name="quote_shares_within_net",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def payable_minor(self) -> int:
        """What the buyer pays, with tax."""
        return self.gross_minor - self.subsidy_minor


class ReservationQuerySet(models.QuerySet["Reservation"]):
    def live(self) -> ReservationQuerySet:
        """Those that take capacity."""
        return self.filter(state__in=Reservation.LIVE)

    def in_slots(self) -> ReservationQuerySet:
        """Those whose hours [start_at, end_at) stand in the slots: live ones, and what the others had used."""
        return self.filter(Q(state__in=Reservation.LIVE) | Q(started_at__isnull=False))


class Reservation(models.Model):
    """`quantity` GPUs of a pool over [start_at, end_at), whole hours. Written by `marketplace.reservations` alone.

    A live one takes exactly its quantity from each of its hours' slots. `contract` is set when it is confirmed; its spans
    there have the source "reservation:<id>" (an extension's: "reservation:<id>:<quote's id>"). Released hours move `end_at`.
    Amounts are what was quoted for it, extensions included, in minor units. `notice_ends_at`: the provider has given notice
    and takes the capacity back then. One that was started and has ended keeps its hours up to `end_at` in the slots: they
    were used. One that never started keeps none. `subsidy_minor` and `reimbursed_minor` are what was promised with them.
    """

    class State(models.TextChoices):
        HELD = "held", _("Held")
        CONFIRMED = "confirmed", _("Confirmed")
        ACTIVE = "active", _("Running")
        COMPLETED = "completed", _("Completed")
        EXPIRED = "expired", _("Expired")
        CANCELLED = "cancelled", _("Cancelled")
        RELEASED = "released", _("Released")
        FAILED = "failed", _("Failed")

    LIVE = ("held", "confirmed", "active")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    quote = models.OneToOneField(Quote, on_delete=models.PROTECT, related_name="reservation", verbose_name=_("quote"))
    offering = models.ForeignKey(
        "marketplace.Offering", on_delete=models.PROTECT, related_name="reservations", verbose_name=_("offering")
    )
    pool = models.ForeignKey(
        "marketplace.CapacityPool", on_delete=models.PROTECT, related_name="reservations", verbose_name=_("pool")
    )
    organization = models.ForeignKey(
        "marketplace.Organization", on_delete=models.PROTECT, related_name="reservations", verbose_name=_("buyer")
    )
    project = models.ForeignKey(
        "marketplace.Project",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="reservations",
        verbose_name=_("project"),
    )
    contract = models.ForeignKey(
        "billing.Contract",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="reservations",
        verbose_name=_("contract"),
    )
    quantity = models.PositiveIntegerField(_("GPUs"))
    start_at = models.DateTimeField(_("from"))
    end_at = models.DateTimeField(_("until"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.HELD)
    hold_expires_at = models.DateTimeField(_("hold expires at"))
    currency = models.CharField(_("currency"), max_length=3)
    net_minor = models.BigIntegerField(_("net"))
    tax_minor = models.BigIntegerField(_("tax"))
    gross_minor = models.BigIntegerField(_("gross"))
    subsidy_minor = models.BigIntegerField(_("promised by programmes"), default=0, db_default=0)
    reimbursed_minor = models.BigIntegerField(_("paid back by programmes"), default=0, db_default=0)
    created_at = models.DateTimeField(_("held at"))
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True, blank=True)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    notice_ends_at = models.DateTimeField(_("taken back at"), null=True, blank=True)
    actor = models.CharField(_("made by"), max_length=100)

    objects = ReservationQuerySet.as_manager()

    class Meta:
        ordering = ["-start_at", "id"]
        verbose_name = _("reservation")
        verbose_name_plural = _("reservations")
        constraints = [
            models.CheckConstraint(condition=Q(end_at__gt=F("start_at")), name="reservation_ends_after_start"),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="reservation_quantity"),
            models.CheckConstraint(
                condition=Q(
                    state__in=[
                        "held",
                        "confirmed",
                        "active",
                        "completed",
                        "expired",
                        "cancelled",
                        "released",
                        "failed",
                    ]
                ),
                name="reservation_state_known",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["confirmed", "active", "completed"])
                | Q(contract__isnull=False, confirmed_at__isnull=False),
                name="reservation_confirmed_has_contract",
            ),
            models.CheckConstraint(
                condition=Q(subsidy_minor__gte=0, reimbursed_minor__gte=0), name="reservation_shares_not_negative"
            ),
        ]
        indexes = [
            models.Index(
                fields=["pool", "end_at"],
                condition=Q(state__in=["held", "confirmed", "active"]),
                name="reservation_live_of_pool",
            ),
            models.Index(fields=["organization", "-start_at"], name="reservation_of_buyer"),
            models.Index(fields=["hold_expires_at"], condition=Q(state="held"), name="reservation_held"),
            models.Index(fields=["start_at"], condition=Q(state="confirmed"), name="reservation_to_start"),
            models.Index(fields=["end_at"], condition=Q(state="active"), name="reservation_to_end"),
            models.Index(
                fields=["notice_ends_at"],
                condition=Q(notice_ends_at__isnull=False, state__in=["confirmed", "active"]),
                name="reservation_noticed",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def payable_minor(self) -> int:
        """What was quoted for the buyer to pay, with tax."""
        return self.gross_minor - self.subsidy_minor


class ReservationChange(models.Model):
    """What became of a reservation, step by step. Append-only. `facts` has what the step was about (amounts, hours)."""

    class Kind(models.TextChoices):
        HELD = "held", _("Held")
        CONFIRMED = "confirmed", _("Confirmed")
        STARTED = "started", _("Started")
        EXTENDED = "extended", _("Extended")
        RELEASED = "released", _("Hours released")
        CANCELLED = "cancelled", _("Cancelled")
        COMPLETED = "completed", _("Completed")
        EXPIRED = "expired", _("Expired")
        FAILED = "failed", _("Failed")
        NOTICE = "notice", _("Notice given")

    reservation = models.ForeignKey(Reservation, on_delete=models.PROTECT, related_name="changes")
    kind = models.CharField(_("what"), max_length=10, choices=Kind)
    facts = models.JSONField(_("facts"), default=dict)
    at = models.DateTimeField(_("at"))
    actor = models.CharField(_("by"), max_length=100)

    class Meta:
        ordering = ["id"]
        verbose_name = _("change of a reservation")
        verbose_name_plural = _("changes of reservations")
        constraints = [
            # A quote for more hours is taken once, also by two at the same time.
            models.UniqueConstraint(
                KT("facts__quote"), condition=Q(kind="extended"), name="reservation_change_extended_once"
            ),
        ]

    def __str__(self) -> str:
        return self.kind


class ReservationMonth(models.Model):
    """What a reservation costs in one month of use, "2026-05" in the issuer's time zone. Written with the reservation.

    `net_minor` is what remains of its quotes, `fee_minor` what was charged for cancelling. A project's month is the sum
    of these over its reservations: what is held, confirmed and used.
    """

    pk = models.CompositePrimaryKey("reservation_id", "month")
    reservation = models.ForeignKey(Reservation, on_delete=models.PROTECT, related_name="months", db_index=False)
    project = models.ForeignKey(
        "marketplace.Project", on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    month = models.CharField(max_length=7)
    net_minor = models.BigIntegerField(default=0)
    fee_minor = models.BigIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(
                fields=["project", "month"], condition=Q(project__isnull=False), name="reservation_month_of_project"
            )
        ]

    def __str__(self) -> str:
        return self.month
