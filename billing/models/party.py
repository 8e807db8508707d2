"""Who sells and who pays: legal persons, issuers of invoices, buyers' accounts."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from stdnum.cn import uscc
from stdnum.exceptions import ValidationError as NumberError


def validate_credit_code(value: str) -> None:
    """Raise ValidationError unless `value` is a unified social credit code (GB 32100-2015: 18 characters, check digit)."""
    try:
        if uscc.validate(value) == value:
            return
    except NumberError:
        pass
    raise ValidationError(
        "%(value)s is no unified social credit code: 18 capital letters and digits, the last a check digit",
        params={"value": value},
        code="credit_code",
    )


class Party(models.Model):
    """A legal person: the one copy of its name, address and unified social credit code."""

    legal_name = models.CharField(_("legal name"), max_length=200)
    legal_name_en = models.CharField(_("legal name in English"), max_length=200, blank=True)
    credit_code = models.CharField(
        _("unified social credit code"), max_length=18, unique=True, validators=[validate_credit_code]
    )
    address = models.CharField(_("address"), max_length=300, blank=True)
    created_at = models.DateTimeField(_("made at"))

    class Meta:
        verbose_name = _("legal person")
        verbose_name_plural = _("legal persons")
        constraints = [
            models.CheckConstraint(
                condition=Q(credit_code__regex=r"^[0-9A-HJ-NPQRTUWXY]{18}$"), name="party_credit_code"
            ),
            models.CheckConstraint(condition=~Q(legal_name=""), name="party_legal_name_given"),
        ]

    def __str__(self) -> str:
        return self.legal_name


class Evidence(models.Model):
    """A document that shows a fact of a party, kept as it was uploaded. Append-only. `sha256` is of `content`."""

    party = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="evidence", verbose_name=_("legal person"))
    name = models.CharField(_("file name"), max_length=200)
    content_type = models.CharField(_("kind of file"), max_length=100)
    content = models.BinaryField(_("content"))
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    uploaded_at = models.DateTimeField(_("uploaded at"))
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        verbose_name = _("evidence")
        verbose_name_plural = _("evidence")
        constraints = [
            models.UniqueConstraint(fields=["party", "sha256"], name="evidence_once"),
            models.CheckConstraint(condition=~Q(name=""), name="evidence_named"),
        ]

    def __str__(self) -> str:
        return self.name


class PartyFact(models.Model):
    """One dated fact of a legal person: `value` holds from `from_date` until a later fact of the kind, or `until_date`.

    Kinds: sector (Sector), size_class (Size), founded_date (an ISO date), zone (where it is registered), related_party (a
    credit code; several may hold at once). Claimed by the party; `verified_at` when staff have seen the evidence.
    """

    class Kind(models.TextChoices):
        SECTOR = "sector", _("sector")
        SIZE_CLASS = "size_class", _("size class")
        FOUNDED_DATE = "founded_date", _("founded on")
        ZONE = "zone", _("zone of registration")
        RELATED_PARTY = "related_party", _("related party")

    class Size(models.TextChoices):
        """As the ministry of industry's standard of 2011 divides them."""

        MICRO = "micro", _("micro")
        SMALL = "small", _("small")
        MEDIUM = "medium", _("medium")
        LARGE = "large", _("large")

    class Sector(models.TextChoices):
        INTEGRATED_CIRCUITS = "integrated_circuits", _("integrated circuits")
        ARTIFICIAL_INTELLIGENCE = "artificial_intelligence", _("artificial intelligence")
        BIOMEDICINE = "biomedicine", _("biomedicine")
        ADVANCED_MANUFACTURING = "advanced_manufacturing", _("advanced manufacturing")
        INTELLIGENT_VEHICLES = "intelligent_vehicles", _("intelligent vehicles")
        CIVIL_AVIATION = "civil_aviation", _("civil aviation")
        NEW_ENERGY = "new_energy", _("new energy")
        SOFTWARE = "software", _("software and information services")
        RESEARCH = "research", _("research and education")
        OTHER = "other", _("other")

    party = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="facts", verbose_name=_("legal person"))
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    value = models.CharField(_("value"), max_length=100)
    from_date = models.DateField(_("from"))
    until_date = models.DateField(_("until"), null=True, blank=True)
    evidence = models.ForeignKey(
        Evidence, on_delete=models.PROTECT, null=True, blank=True, related_name="facts", verbose_name=_("evidence")
    )
    claimed_at = models.DateTimeField(_("claimed at"))
    verified_at = models.DateTimeField(_("verified at"), null=True, blank=True)
    verified_by = models.CharField(_("verified by"), max_length=100, blank=True)
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["party_id", "kind", "from_date", "id"]
        verbose_name = _("fact of a legal person")
        verbose_name_plural = _("facts of legal persons")
        constraints = [
            models.UniqueConstraint(fields=["party", "kind", "value", "from_date"], name="party_fact_once"),
            models.CheckConstraint(
                condition=Q(until_date__isnull=True) | Q(until_date__gte=F("from_date")),
                name="party_fact_ends_after_start",
            ),
            models.CheckConstraint(condition=~Q(value=""), name="party_fact_said"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class Issuer(models.Model):
    """A party that issues invoices in its own name: the zone's operator. Its ledger is kept in `currency`."""

    code = models.SlugField(_("code"), max_length=20, unique=True)
    party = models.OneToOneField(Party, on_delete=models.PROTECT, related_name="issuer", verbose_name=_("legal person"))
    timezone = models.CharField(_("time zone"), max_length=64)
    currency = models.CharField(_("currency"), max_length=3)
    number_prefix = models.CharField(_("number prefix"), max_length=10)

    class Meta:
        verbose_name = _("issuer")
        verbose_name_plural = _("issuers")
        constraints = [
            models.UniqueConstraint(fields=["number_prefix"], name="issuer_number_prefix_once"),
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="issuer_currency"),
        ]

    def __str__(self) -> str:
        return self.code


class NumberSeries(models.Model):
    """The counter behind gapless invoice numbers: one row per issuer and series, locked last in the issuing transaction."""

    issuer = models.ForeignKey(Issuer, on_delete=models.PROTECT, related_name="number_series", verbose_name=_("issuer"))
    series = models.CharField(_("series"), max_length=20)
    last_number = models.PositiveIntegerField(_("last number"), default=0)

    class Meta:
        verbose_name = _("number series")
        verbose_name_plural = _("number series")
        constraints = [models.UniqueConstraint(fields=["issuer", "series"], name="number_series_once")]

    def __str__(self) -> str:
        return self.series


class Account(models.Model):
    """What a buyer is billed on: one consolidated invoice per account and billing period, in the issuer's currency.

    `contracts_changed` counts its contracts and reserved spans as they come, so that what was rated before is known.
    `corrections_on`: where corrections of its issued invoices go; who chose that, and when, if it was ever changed.
    """

    class CorrectionsOn(models.TextChoices):
        NOTE = "note", _("a credit or debit note, at once")
        NEXT_INVOICE = "next_invoice", _("lines on the next invoice")

    issuer = models.ForeignKey(Issuer, on_delete=models.PROTECT, related_name="accounts", verbose_name=_("issuer"))
    code = models.CharField(_("code"), max_length=40, db_collation="C")
    party = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="accounts", verbose_name=_("legal person"))
    language = models.CharField(_("language"), max_length=10, default="zh-hans")
    payment_term_days = models.PositiveSmallIntegerField(_("days to pay"), default=30)
    corrections_on = models.CharField(
        _("corrections go on"), max_length=12, choices=CorrectionsOn, default=CorrectionsOn.NOTE, db_default="note"
    )
    corrections_chosen_at = models.DateTimeField(_("chosen at"), null=True, blank=True)
    corrections_chosen_by = models.CharField(_("chosen by"), max_length=100, blank=True, default="", db_default="")
    contracts_changed = models.PositiveIntegerField(_("changes to contracts"), default=0, editable=False)
    created_at = models.DateTimeField(_("made at"))

    class Meta:
        ordering = ["code"]
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        constraints = [
            models.UniqueConstraint(fields=["issuer", "code"], name="account_code_once"),
            models.CheckConstraint(condition=~Q(code=""), name="account_code_given"),
            models.CheckConstraint(
                condition=Q(corrections_on__in=["note", "next_invoice"]), name="account_corrections_known"
            ),
            models.CheckConstraint(
                condition=Q(corrections_on="note", corrections_chosen_at__isnull=True, corrections_chosen_by="")
                | (Q(corrections_chosen_at__isnull=False) & ~Q(corrections_chosen_by="")),
                name="account_corrections_chosen_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return self.code
