"""What is stored of billing. Fields, constraints and QuerySets; the verbs stand in the modules beside this package."""

from billing.models.adjustment import Adjustment
from billing.models.contract import Contract, OneOffCharge, ReservedSpan, Tariff, TariffVersion
from billing.models.dispute import Dispute
from billing.models.invoice import BillingPeriod, Invoice, InvoiceLine
from billing.models.ledger import Journal, LedgerAccount, Posting
from billing.models.meter import EventSource, Meter
from billing.models.party import Account, Evidence, Issuer, NumberSeries, Party, PartyFact
from billing.models.problem import EventProblem
from billing.models.programme import (
    BudgetPeriod,
    Commitment,
    FirmCap,
    Grant,
    GrantEvidence,
    Programme,
    ProgrammeChange,
    ProgrammeRule,
)
from billing.models.redemption import Claim, ClaimChange, ClaimLine, Clawback, ProgrammeShare, Redemption
from billing.models.usage import Correction, Reading, UsageEvent

__all__ = [
    "Account",
    "Adjustment",
    "BillingPeriod",
    "BudgetPeriod",
    "Claim",
    "ClaimChange",
    "ClaimLine",
    "Clawback",
    "Commitment",
    "Contract",
    "Correction",
    "Dispute",
    "EventProblem",
    "EventSource",
    "Evidence",
    "FirmCap",
    "Grant",
    "GrantEvidence",
    "Invoice",
    "InvoiceLine",
    "Issuer",
    "Journal",
    "LedgerAccount",
    "Meter",
    "NumberSeries",
    "OneOffCharge",
    "Party",
    "PartyFact",
    "Posting",
    "Programme",
    "ProgrammeChange",
    "ProgrammeRule",
    "ProgrammeShare",
    "Reading",
    "Redemption",
    "ReservedSpan",
    "Tariff",
    "TariffVersion",
    "UsageEvent",
]
