"""Requests that were answered, so that the same one sent again is answered the same and done once."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class AnsweredRequest(models.Model):
    """A write that was done for a key's organization under an Idempotency-Key, and what was answered.

    `fingerprint` is a keyed digest of method, path and body: the same key with another request is refused. Stored in the
    transaction of what was done: it is there if and only if that is. Forgotten after KEEP_HOURS (marketplace.api.once).
    """

    organization = models.ForeignKey("marketplace.Organization", on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=255, db_collation="C")
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.TextField()  # JSON as it was answered, which jsonb would put in another order
    answered_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "key"], name="answered_request_once"),
            models.CheckConstraint(condition=~Q(key=""), name="answered_request_key_given"),
        ]
        indexes = [models.Index(fields=["answered_at"], name="answered_request_age")]

    def __str__(self) -> str:
        return self.key
