"""Programmes of Chinese cities as drafts to start from, each rule with its source (data/programmes.json).

What no source says is stored as unknown. Nothing of them is open: funder, budget, window and VAT treatment are for staff to
settle with the funder.
"""

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db import transaction

from billing import programmes
from billing.models import Issuer, Programme, ProgrammeRule

_FILE = Path(__file__).parent / "data" / "programmes.json"


def load(*, issuer: Issuer, at: datetime, actor: str) -> list[Programme]:
    """Store those of the file that the issuer does not have; those that are there stay as they are. Gives the new ones."""
    made = []
    for facts in json.loads(_FILE.read_text(encoding="utf-8")):
        with transaction.atomic():
            if Programme.objects.filter(issuer=issuer, code=facts["code"]).exists():
                continue
            programme = programmes.draft(
                issuer=issuer, code=facts["code"], name=facts["name"], terms=_terms(facts), at=at, actor=actor
            )
            cited = {rule["name"]: rule for rule in facts["rules"]}
            for name in ProgrammeRule.Name.values:
                rule = cited.get(name)
                if rule is None:
                    programmes.cite(programme=programme, name=name, says=None)
                    continue
                programmes.cite(
                    programme=programme,
                    name=name,
                    says=rule["says"],
                    title=rule["source_title"],
                    dated=date.fromisoformat(rule["source_date"]),
                    url=rule["source_url"],
                )
        made.append(programme)
    return made


def _terms(facts: dict[str, Any]) -> dict[str, Any]:
    terms = {"currency": "CNY", "name_en": facts["name_en"], "funder_name": facts["funder_name"], **facts["terms"]}
    if "percent" in terms:
        terms["percent"] = Decimal(terms["percent"])
    return terms
