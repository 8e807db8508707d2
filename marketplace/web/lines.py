"""One line of an invoice: why it was charged, how it was computed, and the readings, reservations or other lines that it
comes from; of readings the digest, and the file that it is of.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing import evidence, usage
from billing.documents import figures, labels
from billing.documents.content import item, programme_name
from billing.documents.explanation import explain
from billing.documents.words import sentences
from billing.models import Contract, Meter
from marketplace import access
from marketplace.behind import Behind, behind
from marketplace.web import amounts, disputes, downloads, invoices
from marketplace.web.usage import read_day

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from billing.evidence import Part
    from marketplace.web.invoices import Document


@require_safe
def invoice_line(request: HttpRequest, number: str, position: int) -> HttpResponse:
    return _shown(request, invoices.issued(request, number), position)


@never_cache
@require_safe
def preview_line(request: HttpRequest, account_id: int, code: str, position: int) -> HttpResponse:
    return _shown(request, invoices.of_month(request, account_id, code), position)


@require_safe
def invoice_readings(request: HttpRequest, number: str, position: int) -> HttpResponseBase:
    return _file(request, invoices.issued(request, number), position)


@require_safe
def preview_readings(request: HttpRequest, account_id: int, code: str, position: int) -> HttpResponseBase:
    return _file(request, invoices.of_month(request, account_id, code), position)


def _file(request: HttpRequest, document: Document, position: int) -> HttpResponseBase:
    """The canonical text of the line's readings: its SHA-256 is the digest that the page shows."""
    line = _line(document, position)
    found = _behind(document, line, _contract(request, document, line))
    if found is None:
        raise Http404
    return downloads.private(
        HttpResponse(found.text(), content_type=downloads.TYPES["csv"]), _file_name(document, position)
    )


def _file_name(document: Document, position: int) -> str:
    account = document.snapshot["buyer"]["account"]
    of = document.invoice.number if document.invoice is not None else f"{account}-{document.period.code}"
    return downloads.plain(f"readings-{of}-{position}.csv")


def _line(document: Document, position: int) -> Mapping[str, Any]:
    lines: Sequence[Mapping[str, Any]] = document.snapshot["lines"]
    if not 1 <= position <= len(lines):
        raise Http404
    return lines[position - 1]


def _contract(request: HttpRequest, document: Document, line: Mapping[str, Any]) -> Contract:
    rows = access.contracts_for(request.user).filter(account=document.account_id).select_related("tariff")
    return get_object_or_404(rows, number=line["contract"])


def _behind(document: Document, line: Mapping[str, Any], contract: Contract) -> Behind | None:
    try:
        return behind(line=line, contract=contract, period=document.period, read=document.read)
    except Meter.DoesNotExist as error:
        raise Http404 from error


def _shown(request: HttpRequest, document: Document, position: int) -> HttpResponse:
    line = _line(document, position)
    currency, zone = document.snapshot["currency"], document.snapshot["billing_period"]["timezone"]
    language = amounts.language()
    formula, facts = explain(line=line, timezone=zone, currency=currency, language=language)
    contract = _contract(request, document, line)
    context = {
        "document": document,
        "is_preview": document.invoice is None,
        "back": invoices.address(document),
        "position": position,
        "title": item(line, language),
        "line": line,
        "contract": contract,
        "amount": figures.money(line["amount_minor"], currency),
        "why": sentences(snapshot=document.snapshot, line=line, language=language),
        "formula": formula,
        "facts": facts,
        "shares": _shares(document.snapshot, line),
        "payable": figures.money(line["payable_minor"], currency) if line.get("funding") else "",
        "timezone": zone,
    }
    if document.invoice is not None:
        context |= disputes.of_line(request, document.invoice, position)
    return render(request, "billing/line.html", context | _evidence(request, document, line, contract))


def _shares(snapshot: Mapping[str, Any], line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each programme pays of the line."""
    named = (*snapshot.get("funding", ()), *snapshot.get("clawed_back", ()))
    programmes = {each["programme"]: each for each in named}
    return [
        {
            "name": programme_name(programmes[each["programme"]], amounts.language()),
            "share": figures.money(each["share_minor"], snapshot["currency"]),
            "is_later": programmes[each["programme"]]["mode"] == "reimbursement",
        }
        for each in line.get("funding", ())
    ]


def _evidence(request: HttpRequest, document: Document, line: Mapping[str, Any], contract: Contract) -> dict[str, Any]:
    told: Mapping[str, Any] = line["explanation"]
    found = _behind(document, line, contract)
    if found is not None:
        return _metered(request, document, line, found)
    if line["kind"] == "capacity":
        return {"spans": _spans(request, line, contract, document.period.timezone)}
    names = {*told.get("of", []), *told.get("counts", [])}
    return {"of": _lines_of(document, line, names)} if names else {}


def _metered(request: HttpRequest, document: Document, line: Mapping[str, Any], found: Behind) -> dict[str, Any]:
    parts, meter, zone = found.parts, found.meter, document.period.timezone
    is_energy = line["kind"] == "energy"
    days = _days(parts, meter, zone) if is_energy else []
    day = _day(request, days, datetime.fromisoformat(line["start"]), zone)
    shown = [part for part in parts if not is_energy or amounts.local(part.start_at, zone).date() == day]
    counted = amounts.units(found.counted, meter, 6)
    return {
        "meter": meter,
        "unit": amounts.unit(meter),
        "base_unit": labels.name("unit", meter.base_unit, amounts.language()),
        "readings_count": len(parts),
        "counted": counted,
        "differs": None if found.is_as_billed else counted,
        "digest": found.digest(),
        "file": invoices.readings_address(document, line["position"]),
        "file_name": _file_name(document, line["position"]),
        "days": days,
        "day": day,
        "readings": [_reading(part, found, zone) for part in shown],
    }


def _days(parts: Sequence[Part], meter: Meter, zone: str) -> list[dict[str, Any]]:
    sums: dict[date, list[int]] = {}
    for part in parts:
        sums.setdefault(amounts.local(part.start_at, zone).date(), []).append(part.counted)
    greatest = max((sum(each) for each in sums.values()), default=0)
    return [
        {
            "day": day,
            "readings": len(each),
            "counted": amounts.units(sum(each), meter),
            "length": sum(each) * 1000 // greatest,
            "address": "?" + urlencode({"day": day.isoformat()}),
        }
        for day, each in sums.items()
    ]


def _day(request: HttpRequest, days: Sequence[Mapping[str, Any]], start: datetime, zone: str) -> date | None:
    """The day whose readings are listed: the one asked for, or none where there are several to choose from."""
    if request.GET.get("day"):
        return read_day(request.GET["day"], amounts.local(start, zone).date())
    return days[0]["day"] if len(days) == 1 else None


def _reading(part: Part, found: Behind, zone: str) -> dict[str, Any]:
    start, meter = amounts.local(part.start_at, zone), found.meter
    return {
        "start": start,
        "contract_id": found.contract_of(part).pk,
        "meter": meter.code,
        "slug": f"{part.start_at:%Y%m%dT%H%MZ}",
        "period": amounts.period_name(part.tou_period),
        "tone": amounts.tones({part.tou_period})[part.tou_period],
        "quantity": f"{part.quantity:,}",
        "counted": f"{part.counted:,}",
        "is_split": part.counted != part.quantity,
        "units": amounts.units(part.counted, meter, 4),
    }


def _spans(request: HttpRequest, line: Mapping[str, Any], contract: Contract, zone: str) -> list[dict[str, Any]]:
    """What was reserved in the line's time."""
    start, end = (datetime.fromisoformat(line[edge]) for edge in ("start", "end"))
    _, contracts, _ = evidence.whole(contract=contract, read=usage.profile, at=start)
    spans = access.reserved_spans_for(request.user).filter(contract__in=contracts, start_at__lt=end, withdrawn_at=None)
    found = spans.order_by("start_at", "pk")
    return [
        {
            "quantity": span.quantity,
            "start": amounts.local(span.start_at, zone),
            "end": None if span.end_at is None else amounts.local(span.end_at, zone),
            "source": span.source,
        }
        for span in found
        if span.end_at is None or span.end_at > start
    ]


def _lines_of(document: Document, line: Mapping[str, Any], names: set[str]) -> list[dict[str, Any]]:
    """The lines that this one is a part of, or counts."""
    currency, language = document.snapshot["currency"], amounts.language()
    return [
        {
            "address": invoices.line_address(document, other["position"]),
            "position": other["position"],
            "title": item(other, language),
            "amount": figures.money(other["amount_minor"], currency),
        }
        for other in document.snapshot["lines"]
        if other["contract"] == line["contract"] and other["charge"] in names
    ]
