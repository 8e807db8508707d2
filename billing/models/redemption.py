"""What programmes paid of invoices: shares, redemptions per line, claims on funders, clawbacks after credits."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class ProgrammeShare(models.Model):
    """What a programme pays of one invoice, 0 included. Append-only; it comes with the invoice's issue.

    `wanted_minor` is what percent or amount made of the eligible lines' `eligible_minor`; `limited_by` what made the
    share less: invoice_cap, firm_cap, budget, or stacking (another programme of its group paid). Empty: nothing did.
    `barred`: the ids of the parties whose supply it did not pay for.
    """

    invoice = models.ForeignKey(
        "billing.Invoice",
        on_delete=models.PROTECT,
        related_name="programme_shares",
        db_index=False,
        verbose_name=_("invoice"),
    )
    programme = models.ForeignKey(
        "billing.Programme", on_delete=models.PROTECT, related_name="shares", verbose_name=_("programme")
    )
    grant = models.ForeignKey("billing.Grant", on_delete=models.PROTECT, related_name="shares", verbose_name=_("grant"))
    month = models.CharField(_("month"), max_length=7)
    eligible_minor = models.BigIntegerField(_("eligible, in minor units"))
    wanted_minor = models.BigIntegerField(_("wanted, in minor units"))
    share_minor = models.BigIntegerField(_("share, in minor units"))
    limited_by = models.CharField(_("limited by"), max_length=20, blank=True)
    barred = models.JSONField(_("not paid for supply of"), default=list, blank=True)

    class Meta:
        ordering = ["invoice_id", "id"]
        verbose_name = _("programme's share")
        verbose_name_plural = _("programmes' shares")
        constraints = [
            models.UniqueConstraint(fields=["invoice", "programme"], name="programme_share_once"),
            models.CheckConstraint(
                condition=Q(share_minor__gte=0, share_minor__lte=F("wanted_minor")), name="programme_share_as_wanted"
            ),
        ]

    def __str__(self) -> str:
        return str(self.share_minor)


class RedemptionQuerySet(models.QuerySet["Redemption"]):
    def owed(self) -> RedemptionQuerySet:
        """Those of which something is still owed, either way, and that no unsettled claim holds."""
        unsettled = ClaimLine.objects.filter(paid_minor__isnull=True)
        return self.exclude(amount_minor=F("clawed_back_minor") + F("paid_minor")).exclude(
            pk__in=unsettled.values("redemption")
        )

    def double_funded(self) -> RedemptionQuerySet:
        """Those of lines that more than one programme pays."""
        other = Redemption.objects.filter(line=models.OuterRef("line")).exclude(pk=models.OuterRef("pk"))
        return self.filter(models.Exists(other))


class Redemption(models.Model):
    """A programme's part of one line, in minor units; of a line that is a credit it is negative.

    It stays; what changes is how much of it was credited, clawed back and paid by the funder.
    """

    share = models.ForeignKey(
        ProgrammeShare,
        on_delete=models.PROTECT,
        related_name="redemptions",
        db_index=False,
        verbose_name=_("programme's share"),
    )
    line = models.ForeignKey(
        "billing.InvoiceLine", on_delete=models.PROTECT, related_name="redemptions", verbose_name=_("invoice line")
    )
    amount_minor = models.BigIntegerField(_("redeemed, in minor units"))
    credited_minor = models.BigIntegerField(_("credited, in minor units"), default=0)
    clawed_back_minor = models.BigIntegerField(_("clawed back, in minor units"), default=0)
    paid_minor = models.BigIntegerField(_("paid by the funder, in minor units"), default=0)

    objects = RedemptionQuerySet.as_manager()

    class Meta:
        ordering = ["share_id", "id"]
        verbose_name = _("redemption")
        verbose_name_plural = _("redemptions")
        constraints = [
            models.UniqueConstraint(fields=["share", "line"], name="redemption_once"),
            models.CheckConstraint(condition=~Q(amount_minor=0), name="redemption_not_zero"),
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, clawed_back_minor__gte=0, clawed_back_minor__lte=F("amount_minor"))
                | Q(amount_minor__lt=0, clawed_back_minor__lte=0, clawed_back_minor__gte=F("amount_minor")),
                name="redemption_clawed_back_within",
            ),
        ]

    def __str__(self) -> str:
        return str(self.amount_minor)


class Claim(models.Model):
    """What a funder is asked for, a batch of redemptions. `claimant` is the issuer's party, or the firm itself in mode C.

    `key` makes it once for a programme. What is not paid of a settled one may be claimed again.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        SUBMITTED = "submitted", _("submitted")
        PAID = "paid", _("paid")
        SHORT_PAID = "short_paid", _("paid in part")
        REJECTED = "rejected", _("rejected")

    programme = models.ForeignKey(
        "billing.Programme",
        on_delete=models.PROTECT,
        related_name="claims",
        db_index=False,
        verbose_name=_("programme"),
    )
    claimant = models.ForeignKey(
        "billing.Party", on_delete=models.PROTECT, related_name="claims", verbose_name=_("claimant")
    )
    key = models.CharField(_("key"), max_length=80, db_collation="C")
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    amount_minor = models.BigIntegerField(_("claimed, in minor units"))
    paid_minor = models.BigIntegerField(_("paid, in minor units"), null=True, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    made_at = models.DateTimeField(_("made at"))
    submitted_at = models.DateTimeField(_("submitted at"), null=True, blank=True)
    settled_at = models.DateTimeField(_("settled at"), null=True, blank=True)
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["id"]
        verbose_name = _("claim")
        verbose_name_plural = _("claims")
        constraints = [
            models.UniqueConstraint(fields=["programme", "key"], name="claim_once"),
            models.CheckConstraint(condition=~Q(key=""), name="claim_key_given"),
            models.CheckConstraint(
                condition=Q(state="draft", submitted_at__isnull=True, settled_at__isnull=True, paid_minor__isnull=True)
                | Q(state="submitted", submitted_at__isnull=False, settled_at__isnull=True, paid_minor__isnull=True)
                | Q(
                    state="paid",
                    submitted_at__isnull=False,
                    settled_at__isnull=False,
                    paid_minor=F("amount_minor"),
                )
                | (
                    Q(state="short_paid", submitted_at__isnull=False, settled_at__isnull=False)
                    & Q(paid_minor__gt=0, paid_minor__lt=F("amount_minor"))
                    & ~Q(reason="")
                )
                | (
                    Q(state="rejected", submitted_at__isnull=False, settled_at__isnull=False, paid_minor=0)
                    & ~Q(reason="")
                ),
                name="claim_settled_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class ClaimChange(models.Model):
    """A change of the state of a claim, its making the first; of one that is settled with what was paid. Append-only."""

    claim = models.ForeignKey(Claim, on_delete=models.PROTECT, related_name="changes", verbose_name=_("claim"))
    state = models.CharField(_("state"), max_length=10, choices=Claim.State)
    paid_minor = models.BigIntegerField(_("paid, in minor units"), null=True, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    at = models.DateTimeField(_("at"))
    actor = models.CharField(_("done by"), max_length=100)

    class Meta:
        ordering = ["id"]
        verbose_name = _("change of a claim")
        verbose_name_plural = _("changes of claims")

    def __str__(self) -> str:
        return self.state


class ClaimLine(models.Model):
    """A redemption in a claim: what is asked for, and what was paid of it (null until the claim is settled)."""

    claim = models.ForeignKey(
        Claim, on_delete=models.PROTECT, related_name="lines", db_index=False, verbose_name=_("claim")
    )
    redemption = models.ForeignKey(
        Redemption, on_delete=models.PROTECT, related_name="claim_lines", verbose_name=_("redemption")
    )
    amount_minor = models.BigIntegerField(_("claimed, in minor units"))
    paid_minor = models.BigIntegerField(_("paid, in minor units"), null=True, blank=True)

    class Meta:
        ordering = ["claim_id", "id"]
        verbose_name = _("line of a claim")
        verbose_name_plural = _("lines of claims")
        constraints = [
            models.UniqueConstraint(fields=["claim", "redemption"], name="claim_line_once"),
            models.UniqueConstraint(
                fields=["redemption"], condition=Q(paid_minor__isnull=True), name="redemption_in_one_open_claim"
            ),
            models.CheckConstraint(condition=~Q(amount_minor=0), name="claim_line_not_zero"),
        ]

    def __str__(self) -> str:
        return str(self.amount_minor)


class Clawback(models.Model):
    """What goes back of a redemption because its line was credited by `credited_minor`. Append-only; once for a `source`."""

    redemption = models.ForeignKey(Redemption, on_delete=models.PROTECT, related_name="clawbacks", db_index=False)
    source = models.CharField(max_length=100)
    credited_minor = models.BigIntegerField()
    amount_minor = models.BigIntegerField()
    at = models.DateTimeField()
    actor = models.CharField(max_length=100)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["redemption", "source"], name="clawback_once")]

    def __str__(self) -> str:
        return str(self.amount_minor)
