"""Numbers of documents without gap or repeat: the last act of a transaction that issues one.

Each series of an issuer has a counter row that all who issue in it wait for, so it is taken last. Who issues several documents
in one transaction takes the invoice's number first, then those of its notes by series (billing.settling).
"""

from datetime import date, datetime

from billing import snapshot
from billing.integrity import fetch_one, send
from billing.models import Issuer

_COUNT = """
    INSERT INTO billing_numberseries AS counter (issuer_id, series, last_number) VALUES (%s, %s, 1)
    ON CONFLICT (issuer_id, series) DO UPDATE SET last_number = counter.last_number + 1 RETURNING last_number
"""

_ISSUE = """
    UPDATE billing_invoice SET state = 'issued', number = %s, issued_at = %s, due_date = %s, snapshot = %s, sha256 = %s,
    actor = %s, settled_on_id = %s WHERE id = %s RETURNING id
"""


def issue(
    *, invoice_id: int, issuer: Issuer, series: str, text: tuple[str, str], due_date: date, at: datetime, actor: str
) -> str:
    """Give a draft the next number of the series, and the snapshot around it: it is issued. Its number."""
    number = count(issuer=issuer, series=series)
    store(invoice_id=invoice_id, number=number, whole=number.join(text), due_date=due_date, at=at, actor=actor)
    return number


def count(*, issuer: Issuer, series: str) -> str:
    """The next number of the series, which nobody else gets one of before the caller's transaction ends."""
    counted = fetch_one(_COUNT, [issuer.pk, series])
    assert counted is not None
    return f"{issuer.number_prefix}-{series}-{counted[0]:06d}"


def store(
    *,
    invoice_id: int,
    number: str,
    whole: str,
    due_date: date,
    settled_on_id: int | None = None,
    at: datetime,
    actor: str,
) -> None:
    """Issue a draft under the number that was counted last in its series. `whole`: its snapshot; `settled_on_id`: of a note,
    the invoice that it is settled on.
    """
    send(_ISSUE, [number, at, due_date, whole, snapshot.digest(whole), actor, settled_on_id, invoice_id])
