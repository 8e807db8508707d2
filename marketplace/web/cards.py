"""What is sold, as pages show it: names in the reader's language, the accelerator's figures, where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from billing.documents import figures
from marketplace.models.accelerator import PRECISIONS
from marketplace.names import named
from marketplace.web import amounts

if TYPE_CHECKING:
    from decimal import Decimal

    from marketplace.models import AcceleratorModel, CapacityPool, Offering

FIGURES = {
    "memory_gb": (_("Memory"), "GB"),
    "memory_type": (_("Kind of memory"), ""),
    "memory_bandwidth_gbps": (_("Memory bandwidth"), "GB/s"),
    "form_factor": (_("Form factor"), ""),
    "interconnect": (_("Interconnect"), ""),
    "interconnect_gbps": (_("Interconnect bandwidth"), "GB/s"),
} | {
    f"{precision}_tflops": (f"{precision.upper()}", "TOPS" if precision == "int8" else "TFLOPS")
    for precision in PRECISIONS
}
"""An accelerator's figures in the order in which they are shown, with their units."""


def described(row: Any) -> str:
    if amounts.language() == "zh-hans":
        return str(row.description)
    return str(row.description_en or row.description)


def model(accelerator: AcceleratorModel) -> str:
    """Its vendor and its name."""
    if amounts.language() == "zh-hans" and accelerator.name_zh:
        return accelerator.name_zh
    return f"{accelerator.vendor} {accelerator.name}"


def figure(accelerator: AcceleratorModel, field: str) -> str:
    """One of FIGURES with its unit; empty where no source was found."""
    value: Decimal | str | None = getattr(accelerator, field)
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        return value
    return f"{figures.number(value)} {FIGURES[field][1]}"


def peak(accelerator: AcceleratorModel) -> str:
    """The dense peak that training is told by: BF16, or else FP16."""
    for precision in ("bf16", "fp16"):
        text = figure(accelerator, f"{precision}_tflops")
        if text:
            return f"{precision.upper()} {text}"
    return ""


def facts(accelerator: AcceleratorModel) -> list[dict[str, Any]]:
    """All its figures, each with its source; those without one are named as not known."""
    return [
        {"name": name, "value": figure(accelerator, field), "source": accelerator.sources.get(field)}
        for field, (name, _unit) in FIGURES.items()
    ]


def card(offering: Offering) -> dict[str, Any]:
    """What every page says of an offering: itself, and of its pool."""
    return {"offering": offering, "code": offering.code, "name": named(offering), **of_pool(offering.pool)}


def of_pool(pool: CapacityPool) -> dict[str, Any]:
    """What is said of the pool, its site and provider, and its accelerator."""
    accelerator = pool.accelerator
    return {
        "model": model(accelerator),
        "memory": figure(accelerator, "memory_gb"),
        "peak": peak(accelerator),
        "interconnect": pool.interconnect or accelerator.interconnect,
        "pool": named(pool),
        "site": named(pool.site),
        "region": pool.site.region,
        "provider": pool.site.provider.name,
    }
