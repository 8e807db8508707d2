"""Invoices to take away: PDF in both languages, CSV, XLSX and JSON, of one invoice or of a month."""

from __future__ import annotations

import re
from contextlib import ExitStack
from functools import partial
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final, cast

from django.contrib import messages
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from billing.documents.files import file_name
from billing.documents.fonts import GlyphMissingError
from billing.documents.invoice import render_invoice
from billing.documents.labels import LANGUAGES
from billing.exports import claims, register
from billing.exports import invoices as exports
from marketplace import access
from marketplace.permissions import Permission
from marketplace.web import invoices
from marketplace.web.organization import current

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from billing.models import Claim

TYPES: Final[dict[str, str]] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}


@require_safe
def pdf(request: HttpRequest, number: str, language: str) -> HttpResponseBase:
    """The invoice as it is printed."""
    spoken = next((each for each in LANGUAGES if each == language), None)
    if spoken is None:
        raise Http404
    found = get_object_or_404(invoices.rows(request), number=number)
    try:
        printed = render_invoice(snapshot=found.snapshot or "", language=spoken)
    except GlyphMissingError as error:
        messages.error(
            request,
            gettext(
                "This invoice can't be printed: “%(value)s” has a character that the font lacks. The other files are whole."
            )
            % {"value": error.value},
        )
        return redirect("invoice", number)
    response = HttpResponse(printed, content_type="application/pdf")
    return private(response, file_name(number=number, language=spoken))


@require_safe
def invoice(request: HttpRequest, number: str, form: str) -> HttpResponseBase:
    """One invoice with its lines, and with the corrections that are settled on it."""
    found = get_object_or_404(invoices.rows(request), number=number)
    return exported(partial(exports.write, invoices=[found.snapshot or ""], settled=True), form, number)


@require_safe
def month(request: HttpRequest, code: str, form: str) -> HttpResponseBase:
    """All invoices of the month that the reader may see."""
    found = invoices.rows(request).filter(period__code=code)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}", code) or not found.exists():
        raise Http404
    write = partial(register.write, documents=found)
    return exported(write, form, f"invoices-{code}")


def exported(write: Callable[..., int], form: str, name: str) -> HttpResponseBase:
    """What `write` puts into a file of the format, to take away."""
    if form not in TYPES:
        raise Http404
    with ExitStack() as stack:
        file = cast("BinaryIO", stack.enter_context(TemporaryFile()))
        write(format=cast("exports.Format", form), output=file)
        file.seek(0)
        stack.pop_all()  # from here on the response closes it
    return private(FileResponse(file, content_type=TYPES[form]), f"{name}.{form}")


@require_safe
def claim_pack(request: HttpRequest, claim_id: int) -> HttpResponseBase:
    """The evidence of what the firm claims by itself."""
    ours = current(request, Permission.SEE_BILLS)
    rows = access.claims_for(request.user, within=ours).select_related("programme__funder", "claimant")
    return packed(get_object_or_404(rows, pk=claim_id))


def packed(claim: Claim) -> HttpResponseBase:
    with ExitStack() as stack:
        file = cast("BinaryIO", stack.enter_context(TemporaryFile()))
        claims.write(claim=claim, output=file)
        file.seek(0)
        stack.pop_all()  # from here on the response closes it
    response = FileResponse(file, content_type="application/zip")
    return private(response, f"claim-{claim.programme.code}-{plain(claim.key)}.zip")


def plain(name: str) -> str:
    """A file's name as a shell takes it for one word: letters, digits, dots, hyphens; an underscore for all else."""
    return re.sub(r"[^0-9A-Za-z.-]+", "_", name)


def private(response: HttpResponseBase, name: str) -> HttpResponseBase:
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response
