"""The buyers' pages."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from marketplace.web import (
    changes,
    claims,
    comparisons,
    disputes,
    downloads,
    grants,
    handover,
    invoices,
    lines,
    market,
    offerings,
    overview,
    programmes,
    quotes,
    readings,
    reservations,
    savings,
    usage,
    waitlist,
    what_if,
)


class Text(StringConverter):
    """What the database can be asked for."""

    regex = r"[^/\0]+"


register_converter(Text, "text")

urlpatterns = [
    path("month/", overview.overview, name="month"),
    path("what-if/", what_if.ask, name="what_if"),
    path("market/", market.market, name="market"),
    path("market/compare/", comparisons.comparison, name="compare"),
    path("market/<slug:code>/", offerings.offering, name="offering"),
    path("market/<slug:code>/waitlist/", waitlist.join, name="join_waitlist"),
    path("quotes/<uuid:quote_id>/", quotes.quote, name="quote"),
    path("quotes/<uuid:quote_id>/hold/", quotes.hold, name="hold"),
    path("quotes/<uuid:quote_id>/extend/", quotes.extend, name="quote_extend"),
    path("quotes/<uuid:quote_id>/again/", quotes.again, name="quote_again"),
    path("reservations/", reservations.list_reservations, name="reservations"),
    path("reservations/<uuid:reservation_id>/", reservations.reservation, name="reservation"),
    path("reservations/<uuid:reservation_id>/confirm/", reservations.confirm, name="confirm"),
    path("reservations/<uuid:reservation_id>/cancel/", changes.cancel, name="cancel"),
    path("reservations/<uuid:reservation_id>/release/", changes.release, name="release"),
    path("reservations/<uuid:reservation_id>/extend/", changes.extension, name="extension"),
    path("reservations/<uuid:reservation_id>/access/", handover.show, name="show_access"),
    path("waitlist/", waitlist.waitlist, name="waitlist"),
    path("waitlist/<uuid:entry_id>/leave/", waitlist.leave, name="leave_waitlist"),
    path("programmes/", programmes.list_programmes, name="programmes"),
    path("programmes/<slug:code>/", programmes.programme, name="programme"),
    path("grants/", grants.list_grants, name="grants"),
    path("grants/<int:grant_id>/", grants.grant, name="grant"),
    path("grants/<int:grant_id>/withdraw/", grants.withdraw, name="withdraw"),
    path("grants/<int:grant_id>/claim/", grants.claim, name="claim"),
    path("claims/<int:claim_id>/", claims.claim, name="own_claim"),
    path("claims/<int:claim_id>/submit/", claims.submit, name="claim_submit"),
    path("claims/<int:claim_id>/take-back/", claims.take_back, name="claim_take_back"),
    path("claims/<int:claim_id>/settle/", claims.settle, name="claim_settle"),
    path("claims/<int:claim_id>/reopen/", claims.reopen, name="claim_reopen"),
    path("claims/<int:claim_id>/pack/", downloads.claim_pack, name="claim_pack"),
    path("usage/", usage.usage, name="usage"),
    path("invoices/", invoices.invoices, name="invoices"),
    path("invoices/preview/<int:account_id>/<str:code>/", invoices.preview, name="preview"),
    path("invoices/preview/<int:account_id>/<str:code>/lines/<int:position>/", lines.preview_line, name="preview_line"),
    path(
        "invoices/preview/<int:account_id>/<str:code>/lines/<int:position>/readings.csv",
        lines.preview_readings,
        name="preview_line_readings",
    ),
    path("invoices/month/<str:code>/<str:form>/", downloads.month, name="month_download"),
    path("invoices/<text:number>/", invoices.invoice, name="invoice"),
    path("invoices/<text:number>/lines/<int:position>/", lines.invoice_line, name="invoice_line"),
    path("invoices/<text:number>/lines/<int:position>/readings.csv", lines.invoice_readings, name="line_readings"),
    path("invoices/<text:number>/lines/<int:position>/dispute/", disputes.dispute, name="dispute"),
    path("invoices/<text:number>/dispute/", disputes.dispute_all, name="dispute_all"),
    path("invoices/<text:number>/withdraw/", disputes.withdraw_all, name="withdraw_all_disputes"),
    path("disputes/<int:dispute_id>/withdraw/", disputes.withdraw, name="withdraw_dispute"),
    path("invoices/<text:number>/pdf/<str:language>/", downloads.pdf, name="invoice_pdf"),
    path("invoices/<text:number>/download/<str:form>/", downloads.invoice, name="invoice_download"),
    path("savings/", savings.show, name="savings"),
    path("events/", readings.readings, name="events"),
    path("events/<int:contract_id>/<slug:meter>/<str:start>/", readings.reading, name="reading"),
    path("events/<int:contract_id>/<slug:meter>/<str:start>/events.csv", readings.events, name="reading_events"),
]
