"""Public programmes that pay a part of a firm's bill: their rules, budgets and caps, whom they were granted to, what is committed."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

_KNOWN_WHEN_OPEN = Q(
    mode__isnull=False,
    funder__isnull=False,
    from_date__isnull=False,
    until_date__isnull=False,
    bars_related_parties__isnull=False,
    one_side_claims__isnull=False,
    vat_signed_at__isnull=False,
) & ~Q(vat_signed_by="")
_PAYS = Q(percent__isnull=False, unit_amount__isnull=True) | Q(percent__isnull=True, unit_amount__isnull=False)


class Programme(models.Model):
    """What a funder pays, for whom, of which charges, when, and up to what. Its terms are frozen once it was open.

    While it is a draft, null says "not known". In an open one a null cap says that there is none. `percent` of the
    tax-free price, or `unit_amount` in major units per `unit` of a line. Empty `kinds` and `charges` take every line.
    Dates are local days of use, the last one included. Programmes of one `stacking_group` exclude each other, the least
    `priority` first; without a group a programme stands for itself.
    """

    class Mode(models.TextChoices):
        TARIFF = "tariff", _("cheaper tariff")
        VOUCHER = "voucher", _("voucher offset on the bill")
        REIMBURSEMENT = "reimbursement", _("reimbursement to the firm")

    class VatTreatment(models.TextChoices):
        THIRD_PARTY_CONSIDERATION = "third_party_consideration", _("part of the price, paid by a third party")
        PRICE_REDUCTION = "price_reduction", _("reduction of the price")
        OUTSIDE_SCOPE = "outside_scope", _("outside the scope of VAT")

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        OPEN = "open", _("open")
        PAUSED = "paused", _("paused")
        CLOSED = "closed", _("closed")

    issuer = models.ForeignKey(
        "billing.Issuer", on_delete=models.PROTECT, related_name="programmes", db_index=False, verbose_name=_("issuer")
    )
    code = models.SlugField(_("code"), max_length=40, db_collation="C", db_index=False)
    name = models.CharField(_("name"), max_length=200)
    name_en = models.CharField(_("name in English"), max_length=200, blank=True)
    funder = models.ForeignKey(
        "billing.Party",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="programmes",
        verbose_name=_("funder"),
    )
    funder_name = models.CharField(
        _("funder's name"), max_length=200, blank=True, help_text=_("As the source says, while there is no party.")
    )
    currency = models.CharField(_("currency"), max_length=3)
    mode = models.CharField(_("way of payment"), max_length=20, choices=Mode, null=True, blank=True)
    percent = models.DecimalField(_("percent of the price"), max_digits=5, decimal_places=2, null=True, blank=True)
    unit_amount = models.DecimalField(_("amount per unit"), max_digits=18, decimal_places=6, null=True, blank=True)
    unit = models.CharField(_("unit"), max_length=40, blank=True)
    kinds = models.JSONField(_("kinds of charges"), default=list, blank=True)
    charges = models.JSONField(_("charges"), default=list, blank=True)
    from_date = models.DateField(_("first day"), null=True, blank=True)
    until_date = models.DateField(_("last day"), null=True, blank=True)
    cap_firm_month_minor = models.BigIntegerField(_("cap a firm and month, in minor units"), null=True, blank=True)
    cap_firm_year_minor = models.BigIntegerField(_("cap a firm and year, in minor units"), null=True, blank=True)
    cap_invoice_minor = models.BigIntegerField(_("cap an invoice, in minor units"), null=True, blank=True)
    stacking_group = models.CharField(_("stacking group"), max_length=40, blank=True)
    priority = models.SmallIntegerField(_("priority"), default=100)
    bars_related_parties = models.BooleanField(_("not for supply of related parties"), null=True, blank=True)
    one_side_claims = models.BooleanField(_("provider and user may not both claim"), null=True, blank=True)
    eligibility = models.JSONField(_("eligibility"), default=dict, blank=True)
    vat_treatment = models.CharField(
        _("VAT treatment"), max_length=30, choices=VatTreatment, default=VatTreatment.THIRD_PARTY_CONSIDERATION
    )
    vat_signed_by = models.CharField(_("VAT treatment signed by"), max_length=100, blank=True)
    vat_signed_at = models.DateTimeField(_("VAT treatment signed at"), null=True, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    created_at = models.DateTimeField(_("made at"))
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["issuer_id", "code"]
        verbose_name = _("programme")
        verbose_name_plural = _("programmes")
        constraints = [
            models.UniqueConstraint(fields=["issuer", "code"], name="programme_code_once"),
            models.CheckConstraint(condition=~Q(code="") & ~Q(name=""), name="programme_named"),
            models.CheckConstraint(
                condition=Q(percent__isnull=True) | Q(percent__gt=0, percent__lte=100), name="programme_percent"
            ),
            models.CheckConstraint(
                condition=Q(unit_amount__isnull=True) | (Q(unit_amount__gt=0) & ~Q(unit="")),
                name="programme_unit_amount",
            ),
            models.CheckConstraint(
                condition=Q(percent__isnull=True) | Q(unit_amount__isnull=True), name="programme_percent_or_amount"
            ),
            models.CheckConstraint(
                condition=Q(until_date__isnull=True) | Q(until_date__gte=F("from_date")),
                name="programme_ends_after_start",
            ),
            models.CheckConstraint(
                condition=(Q(cap_firm_month_minor__isnull=True) | Q(cap_firm_month_minor__gte=0))
                & (Q(cap_firm_year_minor__isnull=True) | Q(cap_firm_year_minor__gte=0))
                & (Q(cap_invoice_minor__isnull=True) | Q(cap_invoice_minor__gte=0)),
                name="programme_caps_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(vat_signed_by="", vat_signed_at__isnull=True)
                | (~Q(vat_signed_by="") & Q(vat_signed_at__isnull=False)),
                name="programme_vat_signed_by_someone",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "closed"])
                | (_KNOWN_WHEN_OPEN & (Q(mode="tariff") | (Q(mode__in=["voucher", "reimbursement"]) & _PAYS))),
                name="programme_open_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class ProgrammeRule(models.Model):
    """What a source says of one rule of a programme. `says` null: the sources that are known leave it open."""

    class Name(models.TextChoices):
        SHARE = "share", _("share of the price")
        SCOPE = "scope", _("what is paid for")
        BUDGET = "budget", _("budget")
        CAP_FIRM = "cap_firm", _("cap for a firm")
        CAP_INVOICE = "cap_invoice", _("cap for an invoice")
        MODE = "mode", _("way of payment")
        WINDOW = "window", _("when it is valid")
        SIZE = "size_class", _("size of the firm")
        SECTOR = "sector", _("sector of the firm")
        ZONE = "zone", _("where the firm is registered")
        AGE = "age", _("age of the firm")
        RELATED_PARTIES = "related_parties", _("related parties")
        ONE_SIDE = "one_side", _("provider and user may not both claim")
        STACKING = "stacking", _("together with other programmes")
        EVIDENCE = "evidence", _("evidence")
        VAT = "vat", _("VAT treatment")

    programme = models.ForeignKey(
        Programme, on_delete=models.PROTECT, related_name="rules", db_index=False, verbose_name=_("programme")
    )
    name = models.CharField(_("rule"), max_length=20, choices=Name)
    says = models.TextField(_("what the source says"), null=True, blank=True)
    source_title = models.CharField(_("title of the source"), max_length=300, blank=True)
    source_date = models.DateField(_("date of the source"), null=True, blank=True)
    source_url = models.URLField(_("address of the source"), max_length=500, blank=True)

    class Meta:
        ordering = ["programme_id", "id"]
        verbose_name = _("rule of a programme")
        verbose_name_plural = _("rules of programmes")
        constraints = [
            models.UniqueConstraint(fields=["programme", "name"], name="programme_rule_once"),
            models.CheckConstraint(
                condition=Q(says__isnull=True) | (~Q(says="") & ~Q(source_title="") & Q(source_date__isnull=False)),
                name="programme_rule_has_its_source",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class BudgetPeriod(models.Model):
    """What a programme may pay for use in [from_date, until_date], whole months; several may hold a month: each must hold.

    `committed_minor` is pending, `redeemed_minor` posted. Written by `billing.budgets` alone.
    """

    programme = models.ForeignKey(
        Programme, on_delete=models.PROTECT, related_name="budgets", db_index=False, verbose_name=_("programme")
    )
    code = models.CharField(_("code"), max_length=20)
    from_date = models.DateField(_("first day"))
    until_date = models.DateField(_("last day"))
    budget_minor = models.BigIntegerField(_("budget, in minor units"))
    committed_minor = models.BigIntegerField(_("committed, in minor units"), default=0)
    redeemed_minor = models.BigIntegerField(_("redeemed, in minor units"), default=0)

    class Meta:
        ordering = ["programme_id", "from_date", "-until_date"]
        verbose_name = _("budget")
        verbose_name_plural = _("budgets")
        constraints = [
            models.UniqueConstraint(fields=["programme", "code"], name="budget_period_once"),
            models.CheckConstraint(condition=Q(until_date__gt=F("from_date")), name="budget_period_ends_after_start"),
            models.CheckConstraint(
                condition=Q(committed_minor__gte=0, redeemed_minor__gte=0), name="budget_counts_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(budget_minor__gte=F("committed_minor") + F("redeemed_minor")), name="budget_not_exceeded"
            ),
        ]

    def __str__(self) -> str:
        return self.code


class FirmCap(models.Model):
    """What a programme may pay for one legal person in one month ("2020-05") or year ("2020") of use, and what it does."""

    programme = models.ForeignKey(Programme, on_delete=models.PROTECT, related_name="firm_caps", db_index=False)
    credit_code = models.CharField(max_length=18)
    period = models.CharField(max_length=7)
    cap_minor = models.BigIntegerField()
    committed_minor = models.BigIntegerField(default=0)
    redeemed_minor = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["programme_id", "credit_code", "period"]
        constraints = [
            models.UniqueConstraint(fields=["programme", "credit_code", "period"], name="firm_cap_once"),
            models.CheckConstraint(condition=Q(period__regex=r"^\d{4}(-(0[1-9]|1[0-2]))?$"), name="firm_cap_period"),
            models.CheckConstraint(
                condition=Q(committed_minor__gte=0, redeemed_minor__gte=0), name="firm_cap_counts_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(cap_minor__gte=F("committed_minor") + F("redeemed_minor")), name="firm_cap_not_exceeded"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.credit_code} {self.period}"


class Grant(models.Model):
    """A programme for one legal person. `facts` are those it applied with, `verdict` what they meant for each rule, and
    `statement` what it says of its use. Withdrawn by the firm itself before it was decided on.

    It pays for use in [from_date, until_date], local days. "expired" says that the last day is over; use before it is
    still paid when it is billed.
    """

    class State(models.TextChoices):
        APPLIED = "applied", _("applied")
        APPROVED = "approved", _("approved")
        REJECTED = "rejected", _("rejected")
        SUSPENDED = "suspended", _("suspended")
        EXPIRED = "expired", _("expired")
        WITHDRAWN = "withdrawn", _("withdrawn")

    programme = models.ForeignKey(
        Programme, on_delete=models.PROTECT, related_name="grants", db_index=False, verbose_name=_("programme")
    )
    party = models.ForeignKey(
        "billing.Party", on_delete=models.PROTECT, related_name="grants", verbose_name=_("legal person")
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.APPLIED)
    statement = models.TextField(_("statement"), blank=True, default="", db_default="")
    applied_at = models.DateTimeField(_("applied at"))
    facts = models.JSONField(_("facts"), default=list, blank=True)
    verdict = models.JSONField(_("verdict"), default=list, blank=True)
    from_date = models.DateField(_("first day"), null=True, blank=True)
    until_date = models.DateField(_("last day"), null=True, blank=True)
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decided_by = models.CharField(_("decided by"), max_length=100, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["programme_id", "id"]
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        constraints = [
            models.UniqueConstraint(
                fields=["programme", "party"],
                condition=Q(state__in=["applied", "approved", "suspended"]),
                name="grant_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(until_date__isnull=True) | Q(until_date__gte=F("from_date")),
                name="grant_ends_after_start",
            ),
            models.CheckConstraint(
                condition=Q(state="applied", decided_at__isnull=True, decided_by="")
                | (~Q(state="applied") & Q(decided_at__isnull=False) & ~Q(decided_by="")),
                name="grant_decided_by_someone",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["applied", "rejected", "withdrawn"])
                | Q(from_date__isnull=False, until_date__isnull=False),
                name="grant_approved_has_its_window",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["rejected", "suspended"]) | ~Q(reason=""), name="grant_refused_with_reason"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.programme_id}/{self.party_id}"


class GrantEvidence(models.Model):
    """A document that came with an application. Append-only."""

    grant = models.ForeignKey(
        Grant, on_delete=models.PROTECT, related_name="documents", db_index=False, verbose_name=_("grant")
    )
    evidence = models.ForeignKey(
        "billing.Evidence", on_delete=models.PROTECT, related_name="grants", verbose_name=_("evidence")
    )

    class Meta:
        verbose_name_plural = "grant evidence"
        constraints = [models.UniqueConstraint(fields=["grant", "evidence"], name="grant_evidence_once")]

    def __str__(self) -> str:
        return f"{self.grant_id}/{self.evidence_id}"


class ProgrammeChange(models.Model):
    """A change of the state of a programme (`grant` null) or of a grant. Append-only."""

    programme = models.ForeignKey(
        Programme, on_delete=models.PROTECT, related_name="changes", verbose_name=_("programme")
    )
    grant = models.ForeignKey(
        Grant, on_delete=models.PROTECT, null=True, blank=True, related_name="changes", verbose_name=_("grant")
    )
    state = models.CharField(_("state"), max_length=10)
    reason = models.TextField(_("reason"), blank=True)
    at = models.DateTimeField(_("at"))
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["id"]
        verbose_name = _("change of a programme")
        verbose_name_plural = _("changes of programmes")

    def __str__(self) -> str:
        return self.state


class Commitment(models.Model):
    """Budget and caps taken for a firm's use in one month, until its invoice redeems them; the rest goes back.

    `source` names why, such as `reservation:<uuid>`, once for each grant and month. What is left of it counts as
    committed while it is open.
    """

    class State(models.TextChoices):
        OPEN = "open", _("open")
        REDEEMED = "redeemed", _("redeemed")
        RELEASED = "released", _("released")
        EXPIRED = "expired", _("expired")

    grant = models.ForeignKey(
        Grant, on_delete=models.PROTECT, related_name="commitments", db_index=False, verbose_name=_("grant")
    )
    account = models.ForeignKey(
        "billing.Account", on_delete=models.PROTECT, related_name="commitments", verbose_name=_("account")
    )
    month = models.CharField(_("month"), max_length=7)
    source = models.CharField(_("source"), max_length=120)
    wanted_minor = models.BigIntegerField(_("wanted, in minor units"))
    amount_minor = models.BigIntegerField(_("committed, in minor units"))
    redeemed_minor = models.BigIntegerField(_("redeemed, in minor units"), default=0)
    released_minor = models.BigIntegerField(_("given back, in minor units"), default=0)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    expires_at = models.DateTimeField(_("expires at"))
    created_at = models.DateTimeField(_("made at"))
    actor = models.CharField(_("done by"), max_length=100)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    ended_by = models.CharField(_("ended by"), max_length=100, blank=True)

    class Meta:
        ordering = ["id"]
        verbose_name = _("commitment")
        verbose_name_plural = _("commitments")
        constraints = [
            models.UniqueConstraint(fields=["grant", "source", "month"], name="commitment_once"),
            models.CheckConstraint(condition=Q(month__regex=r"^\d{4}-(0[1-9]|1[0-2])$"), name="commitment_month"),
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, amount_minor__lte=F("wanted_minor")), name="commitment_amount"
            ),
            models.CheckConstraint(
                condition=Q(state="open", redeemed_minor=0, released_minor=0, ended_at__isnull=True)
                | (
                    ~Q(state="open")
                    & Q(redeemed_minor__gte=0, released_minor__gte=0, ended_at__isnull=False)
                    & Q(amount_minor=F("redeemed_minor") + F("released_minor"))
                ),
                name="commitment_ends_whole",
            ),
        ]
        indexes = [models.Index(fields=["expires_at"], name="commitment_open", condition=Q(state="open"))]

    def __str__(self) -> str:
        return f"{self.source} {self.month}"
