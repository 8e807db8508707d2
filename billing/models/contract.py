"""Tariffs as immutable versions, and the contracts under them."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Func, Q, Value
from django.utils.translation import gettext_lazy as _


class Tariff(models.Model):
    """A named price list. Its prices stand in versions. `owner` sets them; null: the zone's operator."""

    code = models.CharField(_("code"), max_length=60, unique=True)
    name = models.CharField(_("name"), max_length=100)
    name_en = models.CharField(_("name in English"), max_length=100, blank=True)
    owner = models.ForeignKey(
        "billing.Party",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="tariffs",
        verbose_name=_("owner"),
    )

    class Meta:
        verbose_name = _("tariff")
        verbose_name_plural = _("tariffs")

    def __str__(self) -> str:
        return self.code


class TariffVersion(models.Model):
    """One tariff document and the instant it applies from. Append-only."""

    tariff = models.ForeignKey(Tariff, on_delete=models.PROTECT, related_name="versions", verbose_name=_("tariff"))
    version = models.PositiveIntegerField(_("version"))
    effective_at = models.DateTimeField(_("in effect from"))
    document = models.JSONField(_("document"))
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    published_at = models.DateTimeField(_("published at"))
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["tariff_id", "version"]
        verbose_name = _("tariff version")
        verbose_name_plural = _("tariff versions")
        constraints = [
            models.UniqueConstraint(fields=["tariff", "version"], name="tariff_version_once"),
            models.UniqueConstraint(fields=["tariff", "effective_at"], name="tariff_version_effective_once"),
            models.CheckConstraint(condition=Q(version__gte=1), name="tariff_version_from_one"),
        ]

    def __str__(self) -> str:
        return f"v{self.version}"


class Contract(models.Model):
    """One account's supply under one tariff by one provider. `fee_percent` of the net is the platform's margin.

    With `tariff_version`, that version's prices hold to its end, whatever is published later: what was quoted for a
    reservation. Such a contract runs from the start of the first of its reserved spans to the end of the last, and
    moves with them. `withdrawn_at`: nothing of it is supplied after all; only its one-off charges are billed.
    """

    number = models.CharField(_("number"), max_length=60, unique=True, db_collation="C")
    account = models.ForeignKey(
        "billing.Account", on_delete=models.PROTECT, related_name="contracts", verbose_name=_("account")
    )
    tariff = models.ForeignKey(Tariff, on_delete=models.PROTECT, related_name="contracts", verbose_name=_("tariff"))
    tariff_version = models.ForeignKey(
        TariffVersion,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="contracts",
        verbose_name=_("tariff version"),
    )
    provider = models.ForeignKey(
        "billing.Party", on_delete=models.PROTECT, related_name="supplies", verbose_name=_("provider")
    )
    fee_percent = models.DecimalField(_("platform fee in percent"), max_digits=5, decimal_places=2)
    start_at = models.DateTimeField(_("from"))
    end_at = models.DateTimeField(_("until"), null=True, blank=True)
    withdrawn_at = models.DateTimeField(_("withdrawn at"), null=True, blank=True)
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["number"]
        verbose_name = _("contract")
        verbose_name_plural = _("contracts")
        constraints = [
            models.CheckConstraint(
                condition=Q(end_at__isnull=True) | Q(end_at__gt=F("start_at")), name="contract_ends_after_start"
            ),
            models.CheckConstraint(condition=Q(fee_percent__gte=0, fee_percent__lte=100), name="contract_fee_percent"),
            models.CheckConstraint(condition=~Q(number=""), name="contract_number_given"),
            models.CheckConstraint(
                condition=Q(tariff_version__isnull=True) | Q(end_at__isnull=False), name="contract_of_version_ends"
            ),
            models.CheckConstraint(
                condition=Q(withdrawn_at__isnull=True) | Q(tariff_version__isnull=False),
                name="contract_withdrawn_of_version",
            ),
        ]

    def __str__(self) -> str:
        return self.number


class ReservedSpan(models.Model):
    """`quantity` demand units (GPUs) reserved over [start_at, end_at). Spans of a contract add up. `source` names why, once.

    `withdrawn_at`: taken back before it began; it counts for nothing.
    """

    contract = models.ForeignKey(
        Contract,
        on_delete=models.PROTECT,
        related_name="reserved_spans",
        verbose_name=_("contract"),
        db_index=False,  # it is the first column of reserved_span_source_once
    )
    quantity = models.PositiveIntegerField(_("quantity"))
    start_at = models.DateTimeField(_("from"))
    end_at = models.DateTimeField(_("until"), null=True, blank=True)
    source = models.CharField(_("origin"), max_length=100)
    withdrawn_at = models.DateTimeField(_("withdrawn at"), null=True, blank=True)

    class Meta:
        verbose_name = _("reserved capacity")
        verbose_name_plural = _("reserved capacity")
        constraints = [
            models.CheckConstraint(
                condition=Q(end_at__isnull=True) | Q(end_at__gt=F("start_at")), name="reserved_span_ends_after_start"
            ),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="reserved_span_quantity"),
            models.UniqueConstraint(fields=["contract", "source"], name="reserved_span_source_once"),
        ]
        indexes = [
            # What was booked in one go has one source, and where it was cut "#2", "#3" after it.
            models.Index(Func(F("source"), Value("#"), Value(1), function="split_part"), name="reserved_span_of_source")
        ]

    def __str__(self) -> str:
        return self.source


class OneOffCharge(models.Model):
    """An amount that no meter measures: a cancellation fee, a service credit. Append-only; once per contract and `source`.

    `amount_minor` is net, in minor units of the issuer's currency: positive is owed by the buyer, negative a credit. It
    is billed in the period of `at`, taxed by (tax_category, tax_rate). `why` says how it came about, as a line's
    explanation does.
    """

    class Kind(models.TextChoices):
        FEE = "fee", _("fee")
        CREDIT = "credit", _("credit")

    contract = models.ForeignKey(
        Contract,
        on_delete=models.PROTECT,
        related_name="one_off_charges",
        verbose_name=_("contract"),
        db_index=False,  # it is the first column of one_off_charge_once
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    code = models.CharField(_("code"), max_length=40)
    at = models.DateTimeField(_("at"))
    amount_minor = models.BigIntegerField(_("amount, net"))
    tax_category = models.CharField(_("tax category"), max_length=5)
    tax_rate = models.DecimalField(_("tax rate"), max_digits=31, decimal_places=30)
    why = models.JSONField(_("why"), default=dict)
    source = models.CharField(_("origin"), max_length=120)
    created_at = models.DateTimeField(_("made at"))
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["at", "id"]
        verbose_name = _("one-off charge")
        verbose_name_plural = _("one-off charges")
        constraints = [
            models.UniqueConstraint(fields=["contract", "source"], name="one_off_charge_once"),
            models.CheckConstraint(
                condition=Q(kind="fee", amount_minor__gt=0) | Q(kind="credit", amount_minor__lt=0),
                name="one_off_charge_sign",
            ),
        ]

    def __str__(self) -> str:
        return self.code
