"""Double entry: accounts, journals, postings. Written by `billing.ledger` alone; append-only by trigger."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class LedgerAccount(models.Model):
    """One account of an issuer's book: what it is, for whom, in which currency."""

    class Kind(models.TextChoices):
        ASSET = "asset", _("Asset")
        LIABILITY = "liability", _("Liability")
        INCOME = "income", _("Income")
        EXPENSE = "expense", _("Expense")
        EQUITY = "equity", _("Equity")

    issuer = models.ForeignKey(
        "billing.Issuer",
        on_delete=models.PROTECT,
        related_name="ledger_accounts",
        db_index=False,
        verbose_name=_("issuer"),
    )
    name = models.CharField(_("name"), max_length=40)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    account = models.ForeignKey(
        "billing.Account",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="ledger_accounts",
        verbose_name=_("account"),
    )
    party = models.ForeignKey(
        "billing.Party",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="ledger_accounts",
        verbose_name=_("legal person"),
    )
    currency = models.CharField(_("currency"), max_length=3)

    class Meta:
        verbose_name = _("ledger account")
        verbose_name_plural = _("ledger accounts")
        constraints = [
            models.UniqueConstraint(
                fields=["issuer", "name", "account", "party", "currency"],
                nulls_distinct=False,
                name="ledger_account_once",
            ),
            models.CheckConstraint(
                condition=Q(account__isnull=True) | Q(party__isnull=True), name="ledger_account_one_owner"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Journal(models.Model):
    """One balanced entry. `key` makes it once for ever; `reverses` undoes another by opposite postings."""

    issuer = models.ForeignKey(
        "billing.Issuer", on_delete=models.PROTECT, related_name="journals", db_index=False, verbose_name=_("issuer")
    )
    key = models.CharField(_("key"), max_length=120, db_collation="C")
    period = models.ForeignKey(
        "billing.BillingPeriod", on_delete=models.PROTECT, related_name="journals", verbose_name=_("billing period")
    )
    effective_date = models.DateField(_("date"))
    source = models.CharField(_("origin"), max_length=120)
    reverses = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="reversed_by", verbose_name=_("reverses")
    )
    posted_at = models.DateTimeField(_("posted at"))
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["id"]
        verbose_name = _("journal")
        verbose_name_plural = _("journals")
        constraints = [
            models.UniqueConstraint(fields=["issuer", "key"], name="journal_once"),
            models.CheckConstraint(condition=~Q(key=""), name="journal_key_given"),
        ]

    def __str__(self) -> str:
        return self.key


class Posting(models.Model):
    """One side of a journal: debit positive, credit negative, in minor units of the ledger account's currency."""

    journal = models.ForeignKey(Journal, on_delete=models.PROTECT, related_name="postings", verbose_name=_("journal"))
    ledger_account = models.ForeignKey(
        LedgerAccount, on_delete=models.PROTECT, related_name="postings", verbose_name=_("ledger account")
    )
    amount_minor = models.BigIntegerField(_("amount in minor units"))

    class Meta:
        ordering = ["journal_id", "id"]
        verbose_name = _("posting")
        verbose_name_plural = _("postings")
        constraints = [models.CheckConstraint(condition=~Q(amount_minor=0), name="posting_not_zero")]

    def __str__(self) -> str:
        return str(self.amount_minor)
