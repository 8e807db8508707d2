"""What search reads: each offering on sale in one narrow row, and each tariff version's prices by the hour."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _


def price_field(**options: object) -> models.DecimalField[object, object]:
    """A price per GPU-hour to twelve decimals. A tariff's prices have up to 30 digits, and none of them may be refused here."""
    return models.DecimalField(max_digits=80, decimal_places=12, **options)  # type: ignore[arg-type]


class PriceProfile(models.Model):
    """The prices of a tariff version by the hour, derived from its document by `marketplace.pricing`. Never changes.

    `prices` is `pricing.Prices` as JSON. Derived: it may be deleted, and is made again by `marketplace.listings`.
    """

    tariff_version = models.OneToOneField(
        "billing.TariffVersion", on_delete=models.PROTECT, primary_key=True, related_name="price_profile"
    )
    prices = models.JSONField()

    def __str__(self) -> str:
        return str(self.pk)


class Listing(models.Model):
    """An offering that is on sale, as search finds it. Derived: written by `marketplace.listings` alone.

    Prices are per GPU-hour, without tax. `price`: the mean of the version in force when it was refreshed, or else of the
    first to come; stale from `next_at`, when the next version applies, until the next refresh. `floors`: 25 sums in 10^-12
    of the currency; no window of 24 d + r hours costs less per GPU than d * floors[24] + floors[r], under any version that
    was in force or to come at `refreshed_at`: that stays true as they come, until another is published. `common_floors`: so
    without the holidays of `calendar`.
    """

    offering = models.OneToOneField(
        "marketplace.Offering", on_delete=models.CASCADE, primary_key=True, related_name="listing"
    )
    zone = models.ForeignKey("marketplace.Zone", on_delete=models.CASCADE, related_name="+", db_index=False)
    provider = models.ForeignKey("marketplace.Organization", on_delete=models.CASCADE, related_name="+", db_index=False)
    pool = models.ForeignKey("marketplace.CapacityPool", on_delete=models.CASCADE, related_name="+", db_index=False)
    accelerator = models.ForeignKey(
        "marketplace.AcceleratorModel", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    tariff = models.ForeignKey("billing.Tariff", on_delete=models.PROTECT, related_name="+")
    region = models.CharField(max_length=60)
    interconnect = models.CharField(max_length=60, blank=True)
    min_quantity = models.PositiveIntegerField()
    max_quantity = models.PositiveIntegerField()
    step = models.PositiveIntegerField()
    min_hours = models.PositiveIntegerField()
    max_hours = models.PositiveIntegerField()
    lead_hours = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    price = price_field(verbose_name=_("mean price per GPU-hour"))
    floors = ArrayField(models.DecimalField(max_digits=80, decimal_places=0), size=25)
    common_floors = ArrayField(models.DecimalField(max_digits=80, decimal_places=0), size=25)
    calendar = models.CharField(max_length=100, blank=True)
    next_at = models.DateTimeField(null=True)
    refreshed_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["zone", "price", "offering"], name="listing_by_price"),
            models.Index(fields=["next_at"], condition=models.Q(next_at__isnull=False), name="listing_due"),
        ]

    def __str__(self) -> str:
        return str(self.pk)
