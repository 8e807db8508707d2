"""What an invoice's pages say: a snapshot turned into the texts and bar lengths that templates/billing/invoice.typ lays out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.documents import figures
from billing.documents.explanation import explain
from billing.documents.labels import Language, is_known, name, text
from billing.rating import money

Snapshot = Mapping[str, Any]
_TOU_ORDER = ("critical", "peak", "flat", "valley")
_STANDARD_TAX = "S"


def content(*, snapshot: Snapshot, language: Language) -> dict[str, Any]:
    """The document as JSON: strings to print, as data; bar lengths in thousandths; decimals as (whole, places)."""
    currency, period, issuer, buyer = (snapshot[key] for key in ("currency", "billing_period", "issuer", "buyer"))
    issued = figures.local(snapshot["issued_at"], period["timezone"])
    note = snapshot.get("kind")  # an invoice has none
    heading = text(f"title.{note}" if note else "title", language)
    title = f"{heading} {snapshot['number']}"
    page, _, pages = text("page", language, page="|", pages="|").partition("|")
    between, _, after = pages.partition("|")
    return {
        "lang": "zh" if language == "zh-hans" else "en",
        "document_title": title,
        "author": _line(issuer["name"]),
        "keywords": [snapshot["number"], _line(buyer["account"]), period["code"]],
        "title": heading,
        "number": snapshot["number"],
        "issuer": _names(issuer, language),
        "due": _due(snapshot, language),
        "facts": [
            [text("note_number" if note else "number", language), snapshot["number"]],
            *([[text("corrects", language), snapshot["corrects"]["number"]]] if note else []),
            [text("account", language), _line(buyer["account"])],
            [text("period", language), _period(snapshot, language)],
            [text("issued", language), issued.date().isoformat()],
            [text("settled_on", language), snapshot["settled_on"]["number"]]
            if "settled_on" in snapshot
            else [text("due", language), snapshot["due_date"]],
        ],
        "parties": [_party(issuer, "seller", language), _party(buyer, "buyer", language)],
        "kinds": _kinds(snapshot, language),
        "tou": _tou(snapshot, language),
        "lines": _lines(snapshot, language),
        "totals": _totals(snapshot, language),
        "total": [
            text("payable" if "funding" in snapshot else "gross", language),
            figures.money(_payable(snapshot), currency),
        ],
        "corrections": _corrections(snapshot, language),
        "capitals": _capitals(snapshot, language),
        "notes": [
            text("not_fapiao", language),
            *_correction_notes(snapshot, language),
            *funding_notes(snapshot, language),
            *([text("explained_below", language)] if snapshot["lines"] else []),
        ],
        "explained": _explained(snapshot, language),
        "page_of": [page, between, after],
    }


def _correction_notes(snapshot: Snapshot, language: Language) -> list[str]:
    if "corrections" in snapshot:
        return [text("corrections_note", language)]
    if "corrects" not in snapshot:
        return []
    told = snapshot["corrects"]
    issued = figures.local(told["issued_at"], snapshot["billing_period"]["timezone"])
    notes = [text("corrects_note", language, number=told["number"], date=issued.date().isoformat())]
    if "settled_on" in snapshot:
        notes.append(text("settled_note", language, number=snapshot["settled_on"]["number"]))
    return notes


def _payable(snapshot: Snapshot) -> int:
    """What the buyer pays of the document itself: all of it, but for what programmes pay in its place."""
    payable_minor: int = snapshot.get("payable_minor", snapshot["gross_minor"])
    return payable_minor


def _due_in_all(snapshot: Snapshot) -> int:
    """With the corrections that are settled on it."""
    due_minor: int = snapshot["corrections"]["due_minor"] if "corrections" in snapshot else _payable(snapshot)
    return due_minor


def _capitals(snapshot: Snapshot, language: Language) -> list[str] | None:
    """In Chinese the sum that is due stands in capital characters too."""
    if language != "zh-hans" or snapshot["currency"] != "CNY":
        return None
    own = "payable_capitals" if "funding" in snapshot else "capitals"
    label = "due_in_all_capitals" if "corrections" in snapshot else own
    return [text(label, language), figures.capitals(_due_in_all(snapshot))]


def programme_name(funding: Mapping[str, Any], language: Language) -> str:
    return _line(funding["name"] if language == "zh-hans" else funding["name_en"] or funding["name"])


def funding_notes(snapshot: Snapshot, language: Language) -> list[str]:
    """How each programme's share came about, and what limited it."""
    notes = []
    currency = snapshot["currency"]
    for each in snapshot.get("funding", ()):
        rate = (
            text("funding_percent", language, percent=figures.percent(str(Decimal(each["percent"]) / 100)))
            if each["percent"] is not None
            else text(
                "funding_amount",
                language,
                amount=figures.number(each["unit_amount"], 2),
                unit=_unit_name(each, language),
            )
        )
        parts = [
            text(
                "funding_share",
                language,
                programme=programme_name(each, language),
                funder=_line(each["funder"]),
                rate=rate,
                eligible=figures.figure(each["eligible_minor"], currency),
                wanted=figures.figure(each["wanted_minor"], currency),
                share=figures.figure(each["share_minor"], currency),
            )
        ]
        if each["limited_by"]:
            parts.append(text("funding_limited", language, limit=name("limit", each["limited_by"], language)))
        if each["mode"] == "reimbursement":
            parts.append(text("funding_reimbursed", language))
        notes.append("".join(parts))
    return notes


def _unit_name(funding: Mapping[str, Any], language: Language) -> str:
    return name("unit", funding["unit"], language)


def _line(value: str) -> str:
    """One line of text: line breaks, tabs and runs of spaces become one space."""
    return " ".join(value.split())


def _names(party: Mapping[str, str], language: Language) -> list[str]:
    """The name in the reader's language, then the other one if there is one."""
    names = [party["name"], party["name_en"]] if language == "zh-hans" else [party["name_en"], party["name"]]
    return [_line(value) for value in names if value]


def _party(party: Mapping[str, str], role: str, language: Language) -> dict[str, Any]:
    rows = [[text("credit_code", language), party["credit_code"]]]
    if party["address"]:
        rows.append([text("address", language), _line(party["address"])])
    return {"role": text(role, language), "names": _names(party, language), "rows": rows}


def _period(snapshot: Snapshot, language: Language) -> str:
    period = snapshot["billing_period"]
    start, end = (figures.local(period[edge], period["timezone"]) for edge in ("start", "end"))
    return figures.span(start, end, text("to", language))


def _due(snapshot: Snapshot, language: Language) -> dict[str, str]:
    payable_minor, currency = _due_in_all(snapshot), snapshot["currency"]
    if "settled_on" in snapshot:
        label = text("amount_settled", language, number=snapshot["settled_on"]["number"], currency=currency)
        return {"label": label, "amount": figures.money(payable_minor, currency), "by": ""}
    owed = payable_minor >= 0
    due = date.fromisoformat(snapshot["due_date"]).isoformat()
    return {
        "label": text("amount_due" if owed else "amount_credited", language, currency=currency),
        "amount": figures.money(abs(payable_minor), currency),
        "by": text("pay_by", language, date=due) if payable_minor > 0 else "",
    }


def _kinds(snapshot: Snapshot, language: Language) -> dict[str, Any]:
    """One bar for each kind of charge, the greatest first, credits last."""
    sums: dict[str, int] = {}
    for line in snapshot["lines"]:
        sums[line["kind"]] = sums.get(line["kind"], 0) + line["amount_minor"]
    ranked = sorted(sums.items(), key=lambda item: -item[1])
    shares = _shares([amount for _, amount in ranked])
    greatest = max((abs(amount) for _, amount in ranked), default=0)
    return {
        "heading": text("by_kind", language, currency=snapshot["currency"]),
        "rows": [
            {
                "label": name("kind", kind, language),
                "amount": figures.figure(amount, snapshot["currency"]),
                "share": share,
                "permille": abs(amount) * 1000 // greatest if greatest else 0,
                "is_negative": amount < 0,
            }
            for (kind, amount), share in zip(ranked, shares, strict=True)
        ],
    }


def _shares(parts: Sequence[int | Fraction]) -> list[str]:
    """Percentages with one place that sum to 100.0%; none where a part is negative or all are zero."""
    if any(part < 0 for part in parts) or not any(parts):
        return [""] * len(parts)
    return [f"{Decimal(part).scaleb(-1)}%" for part in money.largest_remainder(1000, parts)]


def _tou(snapshot: Snapshot, language: Language) -> dict[str, Any] | None:
    """The energy of each time-of-use period as parts of one bar; None where there is nothing to compare, as of a note."""
    if "corrects" in snapshot:
        return None
    energy = [line for line in snapshot["lines"] if line["kind"] == "energy" and line["tou_period"] is not None]
    units = {(line["unit"], line["base_unit"]) for line in energy}
    quantities: dict[str, Decimal] = {}
    amounts: dict[str, int] = {}
    for line in energy:
        period = line["tou_period"]
        quantities[period] = quantities.get(period, Decimal(0)) + Decimal(line["quantity"])
        amounts[period] = amounts.get(period, 0) + line["amount_minor"]
    if len(quantities) < 2 or len(units) != 1 or not any(quantities.values()):
        return None
    ranked = sorted(quantities, key=lambda code: _TOU_ORDER.index(code) if code in _TOU_ORDER else len(_TOU_ORDER))
    weights = [Fraction(quantities[code]) for code in ranked]
    permilles = money.largest_remainder(1000, weights)
    return {
        "heading": text("by_tou", language),
        "rows": [
            {
                "label": name("tou", code, language),
                "colour": code if code in _TOU_ORDER else str(index),
                "quantity": f"{_places(quantities[code], 2)} {name('unit', energy[0]['unit'], language)}",
                "amount": figures.figure(amounts[code], snapshot["currency"]),
                "share": share,
                "permille": permille,
            }
            for index, (code, permille, share) in enumerate(zip(ranked, permilles, _shares(weights), strict=True))
        ],
    }


def _places(value: Decimal, places: int) -> str:
    return f"{Decimal(money.round_half_up(Fraction(value), places)).scaleb(-places):,f}"


def _lines(snapshot: Snapshot, language: Language) -> dict[str, Any]:
    currency = snapshot["currency"]
    columns = ("position", "item", "quantity", "unit", "unit_price", "amount")
    contracts: dict[str, list[Mapping[str, Any]]] = {}
    for line in snapshot["lines"]:
        contracts.setdefault(line["contract"], []).append(line)
    groups = [_group(snapshot, contract, lines, language) for contract, lines in contracts.items()]
    rows = [row for group in groups for row in group["rows"]]
    return {
        "heading": text("lines", language),
        "columns": [text(column, language, currency=currency) for column in columns],
        "groups": groups,
        "quantity_places": _most_places(row["quantity"] for row in rows),
        "price_places": _most_places(row["price"] for row in rows if row["price"]),
        "none": text("no_lines", language),
    }


def _most_places(numbers: Iterable[list[str]]) -> int:
    return max((len(places) for _, places in numbers), default=0)


def _group(snapshot: Snapshot, contract: str, lines: Sequence[Mapping[str, Any]], language: Language) -> dict[str, Any]:
    versions = dict.fromkeys((line["tariff"], line["tariff_version"]) for line in lines)
    providers = dict.fromkeys(line["provider"] for line in lines)
    subtotal_minor = sum(line["amount_minor"] for line in lines)
    return {
        "heading": _line(text("contract", language, contract=contract)),
        "about": [
            *(_line(text("tariff", language, tariff=tariff, version=version)) for tariff, version in versions),
            *(_line(text("provider", language, provider=provider)) for provider in providers),
        ],
        "subtotal": figures.figure(subtotal_minor, snapshot["currency"]),
        "rows": [_row(snapshot, line, len(versions) > 1, language) for line in lines],
    }


def _row(snapshot: Snapshot, line: Mapping[str, Any], several_versions: bool, language: Language) -> dict[str, Any]:  # noqa: FBT001  - private
    period = snapshot["billing_period"]
    zone = period["timezone"]
    start, end = (figures.local(line[edge], zone) for edge in ("start", "end"))
    details = []
    whole = tuple(figures.local(period[edge], zone) for edge in ("start", "end"))
    if (start, end) != whole or "corrects" in snapshot:
        details.append(figures.span(start, end, text("to", language)))
    if several_versions:
        details.append(_line(text("tariff", language, tariff=line["tariff"], version=line["tariff_version"])))
    if line.get("funding"):
        currency = snapshot["currency"]
        details.append(
            text(
                "line_share",
                language,
                share=text("comma", language).join(
                    f"{_line(each['programme'])} {figures.figure(each['share_minor'], currency)}"
                    for each in line["funding"]
                ),
                payable=figures.figure(line["payable_minor"], currency),
            )
        )
    return {
        "position": str(line["position"]),
        "item": item(line, language),
        "code": _line(line["charge"]),
        "detail": text("comma", language).join(details),
        "quantity": _decimal(line["quantity"]),
        "unit": _line(name("unit", line["unit"], language)),
        "price": None if line["unit_price"] is None else _decimal(line["unit_price"], least_places=2),
        "amount": figures.figure(line["amount_minor"], snapshot["currency"]),
    }


def item(line: Mapping[str, Any], language: Language) -> str:
    """What a line is for: its kind (of a one-off charge: its own name), time-of-use period and tier."""
    is_named = line["kind"] == "one_off" and is_known("one_off", line["charge"])
    parts = [name("one_off", line["charge"], language) if is_named else name("kind", line["kind"], language)]
    if line["tou_period"] is not None:
        parts.append(name("tou", line["tou_period"], language))
    if line["tier"] is not None:
        parts.append(text("tier", language, tier=line["tier"]))
    return _line(text("between", language).join(parts))


def _decimal(value: str, least_places: int = 0) -> list[str]:
    whole, _, places = figures.number(value, least_places).partition(".")
    return [whole, places]


def _totals(snapshot: Snapshot, language: Language) -> list[list[str]]:
    currency = snapshot["currency"]
    rows = [[text("net", language), figures.figure(snapshot["net_minor"], currency)]]
    shares = [(each, -each["share_minor"], "programme_share") for each in snapshot.get("funding", ())]
    shares += [(each, each["amount_minor"], "clawed_back") for each in snapshot.get("clawed_back", ())]
    rows += [
        [text(key, language, programme=programme_name(each, language)), figures.figure(amount_minor, currency)]
        for each, amount_minor, key in shares
        if each["mode"] == "voucher"
    ]
    for tax in snapshot["taxes"]:
        label = text(
            "tax" if tax["category"] == _STANDARD_TAX else "tax_other",
            language,
            rate=figures.percent(tax["rate"]),
            category=_line(tax["category"]),
            net=figures.figure(tax["net_minor"], currency),
        )
        rows.append([label, figures.figure(tax["tax_minor"], currency)])
    return rows


def _corrections(snapshot: Snapshot, language: Language) -> dict[str, Any] | None:
    """The lines of the notes that are settled on it, under the invoices that they correct, and what is due in all."""
    if "corrections" not in snapshot:
        return None
    told, currency = snapshot["corrections"], snapshot["currency"]
    columns = ("position", "item", "quantity", "unit", "unit_price", "amount")
    groups = [_corrected({"currency": currency, **note}, language) for note in told["notes"]]
    rows = [row for group in groups for row in group["rows"]]
    due_minor = told["due_minor"]
    return {
        "heading": text("corrections", language),
        "columns": [text(column, language, currency=currency) for column in columns],
        "groups": groups,
        "quantity_places": _most_places(row["quantity"] for row in rows),
        "price_places": _most_places(row["price"] for row in rows if row["price"]),
        "totals": _totals(
            {
                "currency": currency,
                **told,
                "funding": _of_programmes(told["notes"], "funding", "share_minor"),
                "clawed_back": _of_programmes(told["notes"], "clawed_back", "amount_minor"),
            },
            language,
        ),
        "sums": [
            [text("this_month", language), figures.money(_payable(snapshot), currency)],
            [text("corrections_total", language), figures.money(told["payable_minor"], currency)],
        ],
        "due": [
            text("due_in_all" if due_minor >= 0 else "credited_in_all", language),
            figures.money(due_minor if due_minor >= 0 else -due_minor, currency),
        ],
    }


def _of_programmes(notes: Sequence[Snapshot], key: str, amount: str) -> list[dict[str, Any]]:
    """What each programme pays or takes back on several notes, summed."""
    found: dict[str, dict[str, Any]] = {}
    for note in notes:
        for each in note.get(key, ()):
            there = found.setdefault(each["programme"], {**each, amount: 0})
            there[amount] += each[amount]
    return list(found.values())


def _corrected(note: Snapshot, language: Language) -> dict[str, Any]:
    """A note among an invoice's corrections: without a number in a preview."""
    lines = note["lines"]
    of = text("corrects_of", language, number=note["corrects"]["number"], period=note["billing_period"]["code"])
    contracts = dict.fromkeys((line["contract"], line["tariff"], line["tariff_version"]) for line in lines)
    heading = text(f"title.{note['kind']}", language)
    group: dict[str, Any] = {
        "number": note["number"],
        "heading": _line(of),
        "about": [
            f"{heading} {note['number']}" if note["number"] else heading,
            *(
                _line(f"{text('contract', language, contract=contract)} {_tariff(tariff, version, language)}")
                for contract, tariff, version in contracts
            ),
        ],
        "subtotal": figures.figure(note["net_minor"], note["currency"]),
        "rows": [],
    }
    for line in lines:
        zone = note["billing_period"]["timezone"]
        formula, facts = explain(line=line, timezone=zone, currency=note["currency"], language=language)
        told = text("semicolon", language).join(value for _, value in facts[1:])
        group["rows"].append(_row(note, line, False, language) | {"formula": _line(formula), "facts": _line(told)})
    return group


def _tariff(tariff: str, version: int, language: Language) -> str:
    return text("tariff", language, tariff=tariff, version=version)


def _explained(snapshot: Snapshot, language: Language) -> dict[str, Any] | None:
    if not snapshot["lines"]:
        return None
    zone, currency = snapshot["billing_period"]["timezone"], snapshot["currency"]
    intro = [
        text("explained_readings", language, timezone=zone),
        text("explained_rounding", language, currency=currency),
    ]
    if any(line["unit"].startswith("gpu_") for line in snapshot["lines"]):
        intro.append(text("explained_gpu", language))
    return {
        "heading": text("explained", language),
        "intro": intro,
        "columns": [
            text(column, language, currency=currency) for column in ("position", "item", "computation", "amount")
        ],
        "items": [_explained_item(snapshot, line, language) for line in snapshot["lines"]],
    }


def _explained_item(snapshot: Snapshot, line: Mapping[str, Any], language: Language) -> dict[str, Any]:
    currency = snapshot["currency"]
    formula, facts = explain(
        line=line, timezone=snapshot["billing_period"]["timezone"], currency=currency, language=language
    )
    is_only_contract = all(other["contract"] == line["contract"] for other in snapshot["lines"])
    return {
        "position": str(line["position"]),
        "item": item(line, language),
        "code": _line(line["charge"]),
        "contract": "" if is_only_contract else _line(line["contract"]),
        "formula": _line(formula),
        "facts": _line(text("semicolon", language).join(text("separator", language).join(fact) for fact in facts)),
        "amount": figures.figure(line["amount_minor"], currency),
    }
