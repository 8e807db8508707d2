"""What the database refuses of invoices and notes, and the errors of those who issue them."""

from billing import budgets, ledger
from billing.ledger import PeriodClosedError


class InvoiceFinalError(Exception):
    """An issued invoice and its lines are never changed, and a draft is only issued or made anew."""


class InvoiceUnsoundError(Exception):
    """What is to be issued does not tie: its lines and net, its digest, its account, issuer and period."""


VIOLATIONS = {
    **ledger.VIOLATIONS,
    **budgets.VIOLATIONS,
    "invoice_period_open": PeriodClosedError,
    "invoice_correction_corrects": InvoiceUnsoundError,
    "invoice_corrects_an_issued_one": InvoiceUnsoundError,
    "invoice_correction_once": InvoiceUnsoundError,
    "invoice_settled_is_a_note": InvoiceUnsoundError,
    "invoice_settled_on_an_issued_one": InvoiceUnsoundError,
    "invoice_settled_on_one_issued_with_it": InvoiceUnsoundError,
    "invoice_settles_what_it_says": InvoiceUnsoundError,
    "billing_period_only_closes": PeriodClosedError,
    "invoice_issued_is_final": InvoiceFinalError,
    "invoice_line_is_never_updated": InvoiceFinalError,
    "invoice_draft_is_only_issued": InvoiceFinalError,
    "invoice_begins_as_draft": InvoiceUnsoundError,
    "invoice_of_one_issuer": InvoiceUnsoundError,
    "invoice_account_of_issuer": InvoiceUnsoundError,
    "invoice_sha256_of_snapshot": InvoiceUnsoundError,
    "invoice_net_is_sum_of_lines": InvoiceUnsoundError,
    "invoice_lines_of_account": InvoiceUnsoundError,
    "invoice_subsidy_within_net": InvoiceUnsoundError,
    "invoice_subsidy_is_sum_of_lines": InvoiceUnsoundError,
    "invoice_subsidy_is_redeemed": InvoiceUnsoundError,
    "programme_share_of_its_grant": InvoiceUnsoundError,
    "redemption_of_its_invoice": InvoiceUnsoundError,
    "invoice_gross_is_net_plus_tax": InvoiceUnsoundError,
    "invoice_issued_is_whole": InvoiceUnsoundError,
    "invoice_number_once": InvoiceUnsoundError,
    "invoice_number_of_series": InvoiceUnsoundError,
    "invoice_snapshot_of_columns": InvoiceUnsoundError,
    "number_series_counts_up_by_one": InvoiceUnsoundError,
}
