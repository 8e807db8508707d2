"""Accelerator models: what kinds of GPU there are, each figure with its source."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

PRECISIONS = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8")
"""The precisions of which a model's dense peak is kept, in tera-operations a second."""


class AcceleratorModel(models.Model):
    """One kind of accelerator, as its vendor sells it. Ships with the product (`marketplace/data/accelerators.json`).

    Peaks are dense, in TFLOPS (INT8: TOPS); null where no source was found. `sources` tells, by field, the title and the
    publisher of the document that says so, and the date it was looked up: {"memory_gb": {"title", "publisher",
    "looked_up"}, ...}.
    """

    slug = models.SlugField(_("code"), max_length=60, unique=True)
    vendor = models.CharField(_("vendor"), max_length=60)
    name = models.CharField(_("name"), max_length=100)
    name_zh = models.CharField(_("Chinese name"), max_length=100, blank=True)
    sold_in_china = models.BooleanField(_("sold in China"), null=True, blank=True)
    form_factor = models.CharField(_("form factor"), max_length=40, blank=True)
    memory_gb = models.DecimalField(_("memory, GB"), max_digits=8, decimal_places=2, null=True, blank=True)
    memory_type = models.CharField(_("kind of memory"), max_length=20, blank=True)
    memory_bandwidth_gbps = models.DecimalField(
        _("memory bandwidth, GB/s"), max_digits=10, decimal_places=2, null=True, blank=True
    )
    interconnect = models.CharField(_("interconnect"), max_length=60, blank=True)
    interconnect_gbps = models.DecimalField(
        _("interconnect bandwidth, GB/s"), max_digits=10, decimal_places=2, null=True, blank=True
    )
    fp64_tflops = models.DecimalField("FP64, TFLOPS", max_digits=12, decimal_places=4, null=True, blank=True)
    fp32_tflops = models.DecimalField("FP32, TFLOPS", max_digits=12, decimal_places=4, null=True, blank=True)
    tf32_tflops = models.DecimalField("TF32, TFLOPS", max_digits=12, decimal_places=4, null=True, blank=True)
    bf16_tflops = models.DecimalField("BF16, TFLOPS", max_digits=12, decimal_places=4, null=True, blank=True)
    fp16_tflops = models.DecimalField("FP16, TFLOPS", max_digits=12, decimal_places=4, null=True, blank=True)
    fp8_tflops = models.DecimalField("FP8, TFLOPS", max_digits=12, decimal_places=4, null=True, blank=True)
    int8_tflops = models.DecimalField("INT8, TOPS", max_digits=12, decimal_places=4, null=True, blank=True)
    sources = models.JSONField(_("sources"), default=dict)

    class Meta:
        ordering = ["vendor", "name"]
        verbose_name = _("accelerator model")
        verbose_name_plural = _("accelerator models")
        constraints = [
            models.UniqueConstraint(fields=["vendor", "name"], name="accelerator_model_once"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(vendor=""), name="accelerator_model_named"),
        ]

    def __str__(self) -> str:
        return f"{self.vendor} {self.name}"
