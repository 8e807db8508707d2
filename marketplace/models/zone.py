from django.db import models
from django.utils.translation import gettext_lazy as _


class Zone(models.Model):
    """A computing zone: the place whose operator sells capacity in its own name and issues the invoices."""

    code = models.SlugField(_("code"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=100)
    name_en = models.CharField(_("name in English"), max_length=100)
    issuer = models.OneToOneField(
        "billing.Issuer", on_delete=models.PROTECT, related_name="zone", verbose_name=_("issuer")
    )
    made_from = models.CharField(
        _("made from"), max_length=120, blank=True, help_text=_("What a demo was made from; empty for a real zone.")
    )

    class Meta:
        verbose_name = _("zone")
        verbose_name_plural = _("zones")

    def __str__(self) -> str:
        return self.name
