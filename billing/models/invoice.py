"""Billing periods, invoices and their lines."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class BillingPeriod(models.Model):
    """A local month of one issuer as stored instants [start_at, end_at). Closed: nothing more is posted into it."""

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        CLOSED = "closed", _("Closed")

    issuer = models.ForeignKey(
        "billing.Issuer",
        on_delete=models.PROTECT,
        related_name="billing_periods",
        db_index=False,
        verbose_name=_("issuer"),
    )
    code = models.CharField(_("month"), max_length=7)
    timezone = models.CharField(_("time zone"), max_length=64)
    start_at = models.DateTimeField(_("from"))
    end_at = models.DateTimeField(_("until"))
    last_date = models.DateField(_("last day"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)

    class Meta:
        ordering = ["start_at"]
        verbose_name = _("billing period")
        verbose_name_plural = _("billing periods")
        constraints = [
            models.UniqueConstraint(fields=["issuer", "code"], name="billing_period_once"),
            models.CheckConstraint(condition=Q(end_at__gt=F("start_at")), name="billing_period_ends_after_start"),
            models.CheckConstraint(condition=Q(code__regex=r"^\d{4}-(0[1-9]|1[0-2])$"), name="billing_period_code"),
            models.CheckConstraint(
                condition=Q(state="closed", closed_at__isnull=False) | Q(state="open", closed_at__isnull=True),
                name="billing_period_closed_at",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Invoice(models.Model):
    """What one account owes for one billing period, or what corrects that. Once issued it can't be changed, deleted or
    truncated.

    A credit or debit note `corrects` an invoice, its `place`-th (from 1); its lines keep the time of their use, and its
    `period` is the one that it is posted in. It is paid by itself, or `settled_on` the invoice that was issued with it, whose
    own amounts are without it. `snapshot` is the canonical JSON of the whole document (sorted keys, no spaces, UTF-8),
    `sha256` its digest; PDF and exports are made from it alone. Amounts are minor units of `currency`. `subsidy_minor` is what programmes pay in the
    buyer's place; what the buyer pays is the gross less that.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("Draft")
        ISSUED = "issued", _("Issued")

    class Kind(models.TextChoices):
        INVOICE = "invoice", _("Invoice")
        CREDIT_NOTE = "credit_note", _("Credit note")
        DEBIT_NOTE = "debit_note", _("Debit note")

    kind = models.CharField(
        _("kind of document"), max_length=11, choices=Kind, default=Kind.INVOICE, db_default="invoice"
    )
    corrects = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="corrections", verbose_name=_("corrects")
    )
    place = models.PositiveSmallIntegerField(_("place among its corrections"), null=True, blank=True)
    settled_on = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="settles",
        db_index=False,
        verbose_name=_("settled on"),
    )
    account = models.ForeignKey(
        "billing.Account", on_delete=models.PROTECT, related_name="invoices", verbose_name=_("account")
    )
    period = models.ForeignKey(
        BillingPeriod, on_delete=models.PROTECT, related_name="invoices", verbose_name=_("billing period")
    )
    issuer = models.ForeignKey(
        "billing.Issuer", on_delete=models.PROTECT, related_name="invoices", db_index=False, verbose_name=_("issuer")
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    number = models.CharField(_("number"), max_length=40, null=True, blank=True, db_collation="C")
    currency = models.CharField(_("currency"), max_length=3)
    net_minor = models.BigIntegerField(_("net, in minor units"))
    tax_minor = models.BigIntegerField(_("tax, in minor units"))
    gross_minor = models.BigIntegerField(_("gross, in minor units"))
    subsidy_minor = models.BigIntegerField(_("paid by programmes, in minor units"), default=0, db_default=0)
    payable_minor = models.GeneratedField(
        expression=F("gross_minor") - F("subsidy_minor"),
        output_field=models.BigIntegerField(),
        db_persist=True,
        verbose_name=_("payable, in minor units"),
    )
    drafted_at = models.DateTimeField(_("drafted at"))
    issued_at = models.DateTimeField(_("issued at"), null=True, blank=True)
    due_date = models.DateField(_("due on"), null=True, blank=True)
    snapshot = models.TextField(_("snapshot"), null=True, blank=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64, null=True, blank=True)
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["issuer_id", "number"]
        verbose_name = _("invoice")
        verbose_name_plural = _("invoices")
        constraints = [
            models.UniqueConstraint(fields=["account", "period"], condition=Q(kind="invoice"), name="invoice_once"),
            models.UniqueConstraint(fields=["corrects", "place"], name="invoice_correction_once"),
            models.CheckConstraint(
                condition=Q(kind="invoice", corrects__isnull=True, place__isnull=True)
                | Q(kind__in=["credit_note", "debit_note"], corrects__isnull=False, place__gte=1),
                name="invoice_correction_corrects",
            ),
            models.CheckConstraint(
                condition=Q(settled_on__isnull=True) | Q(kind__in=["credit_note", "debit_note"]),
                name="invoice_settled_is_a_note",
            ),
            models.UniqueConstraint(fields=["issuer", "number"], name="invoice_number_once"),
            models.CheckConstraint(
                condition=Q(gross_minor=F("net_minor") + F("tax_minor")), name="invoice_gross_is_net_plus_tax"
            ),
            models.CheckConstraint(
                condition=Q(subsidy_minor=0)
                | Q(subsidy_minor__gt=0, subsidy_minor__lte=F("net_minor"))
                | ~Q(kind="invoice"),
                name="invoice_subsidy_within_net",
            ),
            models.CheckConstraint(
                condition=Q(state="draft", number__isnull=True, snapshot__isnull=True, issued_at__isnull=True)
                | Q(
                    state="issued",
                    number__isnull=False,
                    snapshot__isnull=False,
                    sha256__isnull=False,
                    issued_at__isnull=False,
                    due_date__isnull=False,
                ),
                name="invoice_issued_is_whole",
            ),
        ]
        indexes = [
            models.Index(fields=["settled_on"], name="invoice_settles", condition=Q(settled_on__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.number or gettext("draft")


class InvoiceLine(models.Model):
    """One charge of an invoice: contract, charge, time-of-use period, tier and price segment; rounded once.

    `quantity_base` is exact, in `base_unit`; `amount_minor` is without tax, and `subsidy_minor` what programmes pay of it in
    the buyer's place. `explanation` says how it came about.
    """

    invoice = models.ForeignKey(
        Invoice, on_delete=models.PROTECT, related_name="lines", db_index=False, verbose_name=_("invoice")
    )
    position = models.PositiveIntegerField(_("position"))
    contract = models.ForeignKey(
        "billing.Contract", on_delete=models.PROTECT, related_name="invoice_lines", verbose_name=_("contract")
    )
    tariff_version = models.ForeignKey(
        "billing.TariffVersion",
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        verbose_name=_("tariff version"),
    )
    charge = models.CharField(_("charge"), max_length=40)
    kind = models.CharField(_("kind"), max_length=20)
    tou_period = models.CharField(_("time of use"), max_length=40, null=True)
    tier = models.PositiveSmallIntegerField(_("tier"), null=True)
    start_at = models.DateTimeField(_("from"))
    end_at = models.DateTimeField(_("until"))
    quantity_base = models.BigIntegerField(_("quantity in base units"))
    base_unit = models.CharField(_("base unit"), max_length=40)
    quantity = models.DecimalField(_("quantity"), max_digits=30, decimal_places=6)
    unit = models.CharField(_("unit"), max_length=40)
    unit_price = models.DecimalField(_("unit price"), max_digits=60, decimal_places=30, null=True)
    amount_minor = models.BigIntegerField(_("net, in minor units"))
    subsidy_minor = models.BigIntegerField(_("paid by programmes, in minor units"), default=0, db_default=0)
    tax_category = models.CharField(_("tax category"), max_length=5)
    tax_rate = models.DecimalField(_("tax rate"), max_digits=31, decimal_places=30)
    explanation = models.JSONField(_("explanation"))

    class Meta:
        ordering = ["invoice_id", "position"]
        verbose_name = _("invoice line")
        verbose_name_plural = _("invoice lines")
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_position_once"),
            models.CheckConstraint(condition=Q(end_at__gt=F("start_at")), name="invoice_line_ends_after_start"),
        ]

    def __str__(self) -> str:
        return self.charge
