"""The accelerator models that ship with the product, from `data/accelerators.json` into rows.

The file: [{"slug", "vendor", "name", "name_zh", "sold_in_china", FIGURE..., "peak_tflops": {precision: FIGURE}, "sources":
[{"title", "publisher", "looked_up", maybe "document"}]}]; a FIGURE is null, where no source was found, or {"value": "80",
"source": its place in sources, maybe "note"}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import transaction

from marketplace.models.accelerator import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.models import Model

FILE = Path(__file__).parent / "data" / "accelerators.json"
WORDS = ("form_factor", "memory_type", "interconnect")
NUMBERS = ("memory_gb", "memory_bandwidth_gbps", "interconnect_gbps")


@dataclass(frozen=True, slots=True)
class Loaded:
    added: int
    changed: int
    same: int


def read(path: Path = FILE) -> list[dict[str, Any]]:
    """The file's models as the fields of AcceleratorModel."""
    return [_fields(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def load(*, model: type[Model], entries: Sequence[Mapping[str, Any]]) -> Loaded:
    """Add what is new by its slug, change what differs, leave the rest, and what the file no longer has.

    `model` is AcceleratorModel, or a migration's own state of it, which may have fewer fields than the file. Two queries
    but for what is new or changed.
    """
    known = {field.name for field in model._meta.get_fields()}  # noqa: SLF001  - Django's name for it
    rows = model._default_manager  # noqa: SLF001
    with transaction.atomic():
        stored: dict[str, Any] = {row.slug: row for row in rows.select_for_update().order_by("pk")}  # type: ignore[attr-defined]
        added, changed = [], []
        for entry in entries:
            facts = {field: value for field, value in entry.items() if field in known}
            row = stored.get(entry["slug"])
            if row is None:
                added.append(model(**facts))
            elif any(getattr(row, field) != value for field, value in facts.items()):
                for field, value in facts.items():
                    setattr(row, field, value)
                changed.append(row)
        rows.bulk_create(added)
        if changed:
            rows.bulk_update(changed, [field for field in entries[0] if field in known and field != "slug"])
    return Loaded(added=len(added), changed=len(changed), same=len(entries) - len(added) - len(changed))


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    figures = {field: entry[field] for field in WORDS + NUMBERS}
    figures |= {f"{precision}_tflops": entry["peak_tflops"][precision] for precision in PRECISIONS}
    sources = {
        field: entry["sources"][figure["source"]] | ({"note": figure["note"]} if "note" in figure else {})
        for field, figure in figures.items()
        if figure is not None
    }
    facts: dict[str, Any] = {field: entry[field] for field in ("slug", "vendor", "name", "name_zh", "sold_in_china")}
    for field, figure in figures.items():
        if field in WORDS:
            facts[field] = "" if figure is None else figure["value"]
        else:
            facts[field] = None if figure is None else Decimal(figure["value"])
    return facts | {"sources": sources}
