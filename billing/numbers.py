"""Numbers of documents without gap or repeat: the last act of a transaction that issues one.

Each series of an issuer has a counter row that all who issue in it wait for, so it is taken last.
"""

from datetime import date, datetime

from billing import snapshot
from billing.integrity import fetch_one
from billing.models import Issuer

_COUNT = """
    INSERT INTO billing_numberseries AS counter (issuer_id, series, last_number) VALUES (%s, %s, 1)
    ON CONFLICT (issuer_id, series) DO UPDATE SET last_number = counter.last_number + 1 RETURNING last_number
"""

_ISSUE = """
    UPDATE billing_invoice SET state = 'issued', number = %s, issued_at = %s, due_date = %s, snapshot = %s, sha256 = %s,
    actor = %s WHERE id = %s RETURNING id
"""


def issue(
    *, invoice_id: int, issuer: Issuer, series: str, text: tuple[str, str], due_date: date, at: datetime, actor: str
) -> str:
    """Give a draft the next number of the series, and the snapshot around it: it is issued. Its number."""
    counted = fetch_one(_COUNT, [issuer.pk, series])
    assert counted is not None
    number = f"{issuer.number_prefix}-{series}-{counted[0]:06d}"
    whole = number.join(text)
    fetch_one(_ISSUE, [number, at, due_date, whole, snapshot.digest(whole), actor, invoice_id])
    return number
