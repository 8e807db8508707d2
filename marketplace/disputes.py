"""Disputes, with the letters that go with their answers: what pages and the admin call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from billing import disputes
from marketplace import letters
from marketplace.models import Organization

if TYPE_CHECKING:
    from datetime import datetime

    from billing.models import Dispute, Invoice


def uphold(*, dispute: Dispute, answer: str, net_minor: int | None, at: datetime, actor: str) -> Invoice:
    """billing.disputes.uphold(), and the buyer is told."""
    with transaction.atomic():
        document = disputes.uphold(dispute=dispute, answer=answer, net_minor=net_minor, at=at, actor=actor)
        _tell(dispute)
    return document


def reject(*, dispute: Dispute, answer: str, at: datetime, actor: str) -> None:
    """billing.disputes.reject(), and the buyer is told."""
    with transaction.atomic():
        disputes.reject(dispute=dispute, answer=answer, at=at, actor=actor)
        _tell(dispute)


def _tell(dispute: Dispute) -> None:
    organization = Organization.objects.filter(party=dispute.invoice.account.party_id).first()
    if organization is not None:
        letters.dispute_answered(dispute=dispute, organization=organization)
