"""What verbs and DRF refuse, as problem details. A refusal's own words say the field, the value and what would be right."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from rest_framework import exceptions

from billing import adjustments, charging, claims, contracts, disputes, parties, tariffs
from billing.documents.fonts import GlyphMissingError
from billing.rating.tariff import TariffError
from marketplace import (
    capacity,
    catalog,
    hours,
    invitations,
    keys,
    limits,
    people,
    projects,
    provisioning,
    reservations,
    selling,
    sign_up,
    terms,
)
from marketplace.api.problems import Problem
from marketplace.provisioning import credentials
from marketplace.reservations.waitlist import TooDearError

if TYPE_CHECKING:
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

CONFLICTS: dict[type[Exception], str] = {
    capacity.NotFreeError: "not-free",
    capacity.DrainingError: "draining",
    capacity.TakenError: "taken",
    capacity.MaintenanceOverError: "maintenance-over",
    capacity.ShortfallStaysError: "shortfall-stays",
    catalog.CodeTakenError: "code-taken",
    catalog.OtherStateError: "other-state",
    projects.ProjectTakenError: "code-taken",
    contracts.AlreadyInvoicedError: "already-invoiced",
    credentials.AlreadyShownError: "already-shown",
    credentials.NotRunningError: "not-running",
    credentials.NothingToShowError: "nothing-to-show",
    provisioning.TaskVoidError: "task-void",
    reservations.BudgetExceededError: "budget-exceeded",
    reservations.EndMovedError: "end-moved",
    reservations.HoldExpiredError: "hold-expired",
    reservations.IsExtensionError: "is-extension",
    reservations.NoPriceError: "no-price",
    reservations.NotAnExtensionError: "not-an-extension",
    reservations.NoticeGivenError: "notice-given",
    reservations.NoticeTooLateError: "notice-too-late",
    reservations.NotDueError: "not-due",
    reservations.NotOnSaleError: "not-on-sale",
    reservations.NotVerifiedError: "not-verified",
    reservations.QuoteExpiredError: "quote-expired",
    reservations.ShareChangedError: "share-changed",
    reservations.WaitingOverError: "waiting-over",
    reservations.WrongStateError: "wrong-state",
    selling.NotProviderError: "not-provider",
    selling.NotReadyError: "not-ready",
    tariffs.VersionTooEarlyError: "version-too-early",
    catalog.PricesTooEarlyError: "version-too-early",
    TooDearError: "too-dear",
    adjustments.NotCorrectableError: "not-correctable",
    charging.NotChargeableError: "not-chargeable",
    claims.AlreadyClaimedError: "already-claimed",
    claims.ClaimDiffersError: "claim-differs",
    claims.ClaimStateError: "wrong-state",
    claims.LaterClaimError: "later-claim",
    claims.NothingToClaimError: "nothing-to-claim",
    disputes.DisputeAnsweredError: "dispute-answered",
    disputes.DisputeDiffersError: "dispute-differs",
    GlyphMissingError: "unprintable",
    invitations.InvitationAcceptedError: "invitation-accepted",
    invitations.InvitationRevokedError: "invitation-revoked",
    invitations.MemberAlreadyError: "member-already",
    parties.FactVerifiedError: "fact-verified",
    people.DecidedError: "decided",
    people.LastOwnerError: "last-owner",
    people.NotMemberError: "not-member",
}
"""409: right in itself, and not possible as things stand."""

UNUSABLE: dict[type[Exception], str] = {
    capacity.InvalidQuantityError: "quantity",
    credentials.InvalidSecretError: "access",
    claims.InvalidClaimError: "",
    contracts.InvalidContractError: "",
    disputes.InvalidDisputeError: "",
    hours.InvalidHoursError: "",
    projects.InvalidProjectError: "",
    reservations.OutsideTermsError: "",
    reservations.WrongProjectError: "project",
    selling.NotOwnTariffError: "tariff",
    terms.InvalidFactError: "",
    TariffError: "document",
    keys.BeyondMakerError: "",
    keys.ExpiredAlreadyError: "expires_at",
    keys.UnknownScopeError: "scopes",
    keys.UnnamedKeyError: "name",
    parties.InvalidEvidenceError: "content",
    parties.InvalidFactError: "",
    sign_up.InvalidSignUpError: "",
}
"""422, with the field at fault where the refusal names none itself."""


def answer(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's EXCEPTION_HANDLER. None for what is no refusal: that is an error of ours, and a 500."""
    problem = problem_of(error)
    if problem is None:
        return None
    view: APIView | None = context.get("view")
    if problem.status == 401 and view is not None:
        problem.headers.setdefault("WWW-Authenticate", 'Bearer realm="suanli"')
    return problem.response()


def problem_of(error: Exception) -> Problem | None:
    if isinstance(error, Problem):
        return error
    if apart := _in_other_words(error):
        return apart
    for refusal, kind in CONFLICTS.items():
        if isinstance(error, refusal):
            return Problem(409, kind, _("Not possible as things stand"), str(error), more=_more(error))
    for refusal, field in UNUSABLE.items():
        if isinstance(error, refusal):
            named = str(getattr(error, "field", "") or getattr(error, "path", "") or field)
            return Problem(422, "unusable", _("A value that can't be"), str(error), field=named or None)
    return _of_framework(error)


def _in_other_words(error: Exception) -> Problem | None:
    """Of refusals whose own words say what is not for the client, or not all that it needs."""
    if isinstance(error, tariffs.OwnerDiffersError):
        detail = _("The tariff's code is in use: choose another.")
        return Problem(409, "code-taken", _("Not possible as things stand"), detail, field="document.code")
    if isinstance(error, credentials.UnreadableError):  # of whose setting, it would say
        logger.error("access can't be read", exc_info=error)
        detail = _("It can't be read any more. Ask the provider to hand it over anew.")
        return Problem(409, "unreadable", _("Not possible as things stand"), detail)
    if isinstance(error, limits.TooOftenError):
        detail = _("Enough of this for today: come again in %(wait)d seconds.") % {"wait": error.wait_seconds}
        headers = {"Retry-After": str(error.wait_seconds)}
        return Problem(429, "too-often", _("Too many requests"), detail, headers=headers)
    return None


def _more(error: Exception) -> dict[str, Any]:
    if isinstance(error, capacity.NotFreeError):
        windows = [
            {"start_at": window.start_at.isoformat(), "end_at": window.end_at.isoformat(), "free": window.free}
            for window in error.windows
        ]
        return {"windows": windows}
    if isinstance(error, reservations.ShareChangedError):
        return {"share_minor": error.left_minor, "payable_minor": error.payable_minor}
    if isinstance(error, credentials.AlreadyShownError):
        return {"shown_at": error.shown_at.isoformat()}
    if isinstance(error, selling.NotReadyError):
        return {"problems": [{"field": each.field, "expected": each.expected} for each in error.problems]}
    return {}


def _of_framework(error: Exception) -> Problem | None:
    if isinstance(error, Http404):
        return Problem(404, "not-found", _("Not found"), _("There is nothing here, or nothing that this key may see."))
    if isinstance(error, PermissionDenied):
        return Problem(403, "forbidden", _("The key may not do this"), str(error))
    if isinstance(error, SuspiciousOperation):
        return Problem(400, "malformed", _("The request can't be taken"), str(error))
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("the database failed under a request to the API", exc_info=error)
        detail = _("The database does not answer. Send the same again, with the same Idempotency-Key if it had one.")
        return Problem(503, "unavailable", _("Not now"), detail, headers={"Retry-After": "5"})
    return _of_rest(error) if isinstance(error, exceptions.APIException) else None


def _of_rest(error: exceptions.APIException) -> Problem:
    if isinstance(error, exceptions.ValidationError):
        field, said = _first(error.detail)
        return Problem(422, "unusable", _("A value that can't be"), said, field=field or None)
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        detail = str(error.detail)
        if isinstance(error, exceptions.NotAuthenticated):
            detail = _("Send an API key: Authorization: Bearer KEY.")
        return Problem(401, "unauthorized", _("No valid API key"), detail, field="Authorization")
    if isinstance(error, exceptions.Throttled):
        wait_seconds = int(error.wait or 1)
        detail = _("This key has made its requests of this minute: come again in %(wait)d seconds.")
        headers = {"Retry-After": str(wait_seconds)}
        return Problem(
            429, "too-many-requests", _("Too many requests"), detail % {"wait": wait_seconds}, headers=headers
        )
    kinds = {400: "malformed", 404: "not-found", 405: "method", 406: "not-acceptable", 415: "unsupported-media-type"}
    kind = kinds.get(error.status_code, "refused")
    return Problem(error.status_code, kind, _("The request can't be taken"), str(error.detail))


def _first(detail: Any, path: str = "") -> tuple[str, str]:
    """Of DRF's nested details, the first: (field's path, words)."""
    while not isinstance(detail, str):
        if isinstance(detail, dict):
            name, detail = next(iter(detail.items()))
            if name != "non_field_errors":
                path = f"{path}.{name}" if path else str(name)
        else:
            detail = next((each for each in detail if each), "")
    return path, str(detail)
