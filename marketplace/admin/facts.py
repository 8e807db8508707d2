"""What legal persons say of themselves, and the documents that prove it. To look at; the documents are downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from billing.models import Evidence, PartyFact
from marketplace.admin.base import StaffAdmin, StaffInline, column
from marketplace.admin.page import link
from marketplace.admin.site import staff

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest


@admin.register(PartyFact, site=staff)
class PartyFactAdmin(StaffAdmin):
    list_display = ("party", "kind", "value", "from_date", "until_date", "evidence", "verified_at")
    list_display_links = ("party", "kind")
    list_select_related = ("party", "evidence")
    list_filter = ("kind", ("verified_at", admin.EmptyFieldListFilter))
    search_fields = ("value", "party__legal_name", "party__legal_name_en", "party__credit_code")
    date_hierarchy = "claimed_at"
    ordering = ("-claimed_at", "-pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PartyFact]:
        rows: QuerySet[PartyFact] = super().get_queryset(request)
        return rows.defer("evidence__content")


class FactInline(StaffInline):
    model = PartyFact
    fields = ("kind", "value", "from_date", "until_date", "verified_at")


@admin.register(Evidence, site=staff)
class EvidenceAdmin(StaffAdmin):
    list_display = ("name", "party", "content_type", "uploaded_at", "file")
    list_select_related = ("party",)
    list_filter = ("content_type",)
    search_fields = ("name", "party__legal_name", "party__credit_code", "sha256")
    date_hierarchy = "uploaded_at"
    ordering = ("-uploaded_at", "-pk")
    fields = ("party", "name", ("content_type", "uploaded_at"), "sha256", "who", "file")
    readonly_fields = ("file",)
    inlines = (FactInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Evidence]:
        rows: QuerySet[Evidence] = super().get_queryset(request)
        return rows.defer("content")

    @column(_("file"))
    def file(self, evidence: Evidence) -> str:
        return link(staff.address("evidence_file", evidence.pk), _("Download"))


@staff.page("evidence/<int:evidence_id>/file/", "evidence_file")
@require_safe
def evidence_file(_request: HttpRequest, evidence_id: int) -> HttpResponse:
    """Never shown in the browser: a stranger has uploaded it."""
    evidence = get_object_or_404(Evidence, pk=evidence_id)
    answer = HttpResponse(bytes(evidence.content), content_type="application/octet-stream")
    answer["Content-Disposition"] = content_disposition_header(True, evidence.name)
    answer["Cache-Control"] = "private, no-store"
    return answer
