"""What verbs refuse, in sentences for people: one table for all pages and forms.

A verb's own words name the field, the value and what would be right, in English: who reads English is told those. For
others a sentence stands here by the refusal's name, and for facts by their field.
"""

from __future__ import annotations

from django.utils.translation import get_language, gettext

from billing import contracts
from marketplace import capacity, catalog, hours, provisioning, reservations, selling, terms
from marketplace.provisioning import credentials


def for_people(refusal: Exception) -> str:
    """In English the verb's own words; in other languages the sentence of the table, where there is one."""
    if (get_language() or "").startswith("en"):
        return str(refusal)
    if isinstance(refusal, terms.InvalidFactError):
        return _facts().get(refusal.field.partition("[")[0]) or str(refusal)
    return supplying().get(type(refusal)) or buying().get(type(refusal)) or str(refusal)


def buying() -> dict[type[Exception], str]:
    """Of a buyer's steps, those whose words hold no figures."""
    return {
        reservations.HoldExpiredError: gettext(
            "The time to confirm is over, and nothing is reserved. Quote it again: the GPUs may still be free."
        ),
        reservations.OutsideTermsError: gettext("These hours or this number of GPUs lie outside of what is sold."),
        reservations.NotOnSaleError: gettext("The provider no longer sells this. Look for another on the market."),
        reservations.NotVerifiedError: gettext(
            "Your organization can look, but not reserve: only buyers that the zone's operator has verified can."
        ),
        reservations.WrongProjectError: gettext("This project is archived. Choose another one."),
        reservations.NoPriceError: gettext("There is no price for all of these hours yet. Choose earlier ones."),
        reservations.NoticeGivenError: gettext("The provider takes these GPUs back, so that no hours can be added."),
        reservations.EndMovedError: gettext(
            "The reservation ends at another time by now, so that this price no longer fits. Ask for more hours again."
        ),
        reservations.IsExtensionError: gettext("This price is for more hours of a reservation. Add them there."),
        reservations.NotAnExtensionError: gettext("This price is for a reservation of its own. Hold it."),
        reservations.WaitingOverError: gettext("This entry no longer waits: it was taken, or its time is over."),
        capacity.NotFreeError: gettext(
            "So many GPUs are not free in all of these hours any more. Nothing was changed."
        ),
        capacity.InvalidQuantityError: gettext("The pool has fewer GPUs than that by now."),
        capacity.InvalidHoursError: gettext("These hours can't be reserved: they are over, or too many at once."),
        contracts.AlreadyInvoicedError: gettext("A month of it is invoiced already. Choose hours in a later one."),
    }


def supplying() -> dict[type[Exception], str]:
    """Of a provider's steps."""
    return {
        capacity.InvalidQuantityError: gettext("Give at least one GPU, and no more than the pool has."),
        capacity.MaintenanceOverError: gettext("This maintenance is over, was cancelled, or has not begun."),
        capacity.ShortfallStaysError: gettext("Hours of this incident still lack GPUs: it ends with them."),
        capacity.TakenError: gettext(
            "So many GPUs are not free in all of these hours. Choose others, or fewer, or open an incident."
        ),
        catalog.CodeTakenError: gettext("This code is in use: choose another."),
        catalog.OnSaleError: gettext("It is on sale: pause it first, or change its texts alone."),
        catalog.OtherStateError: gettext("Its state does not permit this; somebody may just have changed it."),
        credentials.InvalidSecretError: gettext("Write some text, of at most 10,000 characters."),
        credentials.NotRunningError: gettext("The reservation is neither confirmed nor running."),
        hours.InvalidHoursError: gettext("Give whole hours that are not over, the end after the start."),
        provisioning.TaskVoidError: gettext("This task is no longer needed."),
        reservations.NoticeTooLateError: gettext("The reservation ends before the notice would be over."),
        reservations.WrongStateError: gettext("The reservation's state does not permit this any more."),
        selling.NotOwnTariffError: gettext("Choose a tariff of your own, or of the zone's operator."),
        selling.NotProviderError: gettext("Only a provider that the zone's operator has verified can do this."),
    }


def _facts() -> dict[str, str]:
    """By the field of an InvalidFactError: what would be right."""
    line = gettext("Write one line, without blanks at its ends, and not too long.")
    text = gettext("Write less, and without control characters.")
    return {
        "code": gettext("Use letters from A to Z, digits, - and _ alone, and no name of a page of the market."),
        **dict.fromkeys(("name", "name_en", "region", "address", "interconnect"), line),
        **dict.fromkeys(("description", "description_en", "terms"), text),
        "reason": gettext("Give a reason in one line of at most 500 characters."),
        "min_quantity": gettext("Give a multiple of the step, of 1 or more."),
        "max_quantity": gettext("Give a multiple of the step that is not less than the least."),
        "step": gettext("Give a whole number of 1 or more."),
        "min_hours": gettext("Give a whole number of 1 or more."),
        "max_hours": gettext("Give a whole number of hours that is not less than the least, and at most ten years."),
        "lead_hours": gettext("Give a whole number of hours, of 0 or more."),
        "notice_hours": gettext("Give a whole number of hours; while it is reserved it can't become less."),
        "gpus": gettext("Give a whole number of GPUs."),
        "gpus_per_node": gettext("Give a whole number of GPUs of 1 or more."),
        "backend": gettext("Choose one of the list."),
        "tariff": gettext("Choose a tariff with prices that the zone can bill."),
        "cancellation_terms": gettext(
            "Give fewer hours line by line, and never a lower percentage: to cancel later is never cheaper."
        ),
        "service_level_percent": gettext("Give a percentage above 0 and up to 100, with at most 3 decimals."),
        "service_credit_percent": gettext(
            "Give a percentage above 0 and up to 100, with at most 2 decimals, and only beside a service level."
        ),
    }
