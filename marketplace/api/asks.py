"""What the API reads of bodies and addresses. Ranges and rules beyond the form are the verbs'."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from billing.models import Account
from marketplace.api.reading import FIRST_YEAR, LAST_YEAR, Instant
from marketplace.api.shapes import TermShape
from marketplace.models.accelerator import PRECISIONS
from marketplace.provisioning import credentials

MOST = 2**31 - 1  # what the database's integers hold
MOST_MINOR = 10**15 - 1
MOST_ID = 2**63 - 1
MOST_CODE = 60  # of a tariff


def _whole(**options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0, max_value=MOST, **options)


def _text(most: int, **options: Any) -> serializers.CharField:
    return serializers.CharField(max_length=most, **options)


class AskQuote(serializers.Serializer[Any]):
    offering = _text(60)
    quantity = _whole()
    start_at = Instant()
    end_at = Instant()
    project = _text(40, required=False, allow_null=True, help_text="The code of one of the organization's projects.")


class AskEnd(serializers.Serializer[Any]):
    end_at = Instant(help_text="A whole hour.")


class AskMonth(serializers.Serializer[Any]):
    month = serializers.RegexField(
        r"^(19[7-9][0-9]|2[01][0-9][0-9])-(0[1-9]|1[0-2])$",
        required=False,
        help_text="Such as 2026-05, in the zone's time; the running one if it is left out.",
    )


class AskPreview(AskMonth):
    account = _text(
        40, required=False, help_text="The code of the account; it may be left out where there is only one."
    )


class AskCorrections(serializers.Serializer[Any]):
    corrections_on = serializers.ChoiceField(Account.CorrectionsOn.choices)


class _AskMeasured(serializers.Serializer[Any]):
    contract = _text(60, help_text="Its number.")
    meter = _text(60, help_text="Its code.")


class AskReadings(_AskMeasured):
    from_at = Instant(required=False)
    until_at = Instant(required=False)


class AskEvents(_AskMeasured):
    start_at = Instant(help_text="Of a reading.")


class AskWaiting(serializers.Serializer[Any]):
    offering = _text(60)
    quantity = _whole()
    hours = _whole()
    earliest_at = Instant()
    latest_at = Instant()
    max_net_minor = serializers.IntegerField(min_value=0, max_value=MOST_MINOR)
    project = _text(40, required=False, allow_null=True)


class AskProject(serializers.Serializer[Any]):
    code = _text(40)
    name = _text(100)
    cost_centre = _text(60, required=False, allow_blank=True, default="")
    monthly_limit_minor = serializers.IntegerField(
        min_value=0, max_value=MOST_MINOR, required=False, allow_null=True, default=None
    )
    warn_percents = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=1000), max_length=10, required=False
    )
    is_hard = serializers.BooleanField(required=False, default=True)


class ChangeProject(serializers.Serializer[Any]):
    name = _text(100, required=False)
    cost_centre = _text(60, required=False, allow_blank=True)
    monthly_limit_minor = serializers.IntegerField(min_value=0, max_value=MOST_MINOR, required=False, allow_null=True)
    warn_percents = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=1000), max_length=10, required=False
    )
    is_hard = serializers.BooleanField(required=False)


# Providers


class AskSite(serializers.Serializer[Any]):
    code = _text(40)
    name = _text(100)
    name_en = _text(100, required=False, allow_blank=True, default="")
    region = _text(60)
    address = _text(300, required=False, allow_blank=True, default="")


class ChangeSite(serializers.Serializer[Any]):
    name = _text(100, required=False)
    name_en = _text(100, required=False, allow_blank=True)
    region = _text(60, required=False)
    address = _text(300, required=False, allow_blank=True)


class AskPool(serializers.Serializer[Any]):
    site = _text(40, help_text="The code of one's own site.")
    accelerator = _text(60)
    code = _text(40)
    name = _text(100)
    name_en = _text(100, required=False, allow_blank=True, default="")
    interconnect = _text(60, required=False, allow_blank=True, default="")
    gpus = _whole()
    gpus_per_node = _whole(required=False, default=8)
    notice_hours = _whole(required=False, default=72)


class ChangePool(serializers.Serializer[Any]):
    name = _text(100, required=False)
    name_en = _text(100, required=False, allow_blank=True)
    interconnect = _text(60, required=False, allow_blank=True)
    notice_hours = _whole(required=False)


class AskCapacity(serializers.Serializer[Any]):
    gpus = _whole()
    from_at = Instant()
    cause = _text(300)


class AskFrom(serializers.Serializer[Any]):
    from_at = Instant(help_text="A whole hour.")


class AskMaintenance(serializers.Serializer[Any]):
    pool = serializers.IntegerField(min_value=1, max_value=MOST_ID)
    quantity = _whole()
    start_at = Instant()
    end_at = Instant()
    reason = _text(300)
    force = serializers.BooleanField(
        required=False, default=False, help_text="Also where it is reserved: that opens an incident."
    )


class AskOutage(serializers.Serializer[Any]):
    pool = serializers.IntegerField(min_value=1, max_value=MOST_ID)
    quantity = _whole()
    start_at = Instant()
    cause = _text(300)


class AskClose(serializers.Serializer[Any]):
    end_at = Instant(required=False, help_text="When the outage ended; now if it is left out.")


class AskReason(serializers.Serializer[Any]):
    reason = _text(500)


class AskDone(serializers.Serializer[Any]):
    note = _text(500, required=False, allow_blank=True, default="", help_text="The buyer does not see it.")


class AskAccess(serializers.Serializer[Any]):
    access = _text(
        credentials.MAX_LENGTH,
        trim_whitespace=False,
        help_text="How to get in: addresses, users, passwords or keys. It is sealed, and shown to the buyer once.",
    )


class _OfferingFields(serializers.Serializer[Any]):
    name_en = _text(100, required=False, allow_blank=True)
    description = _text(4000, required=False, allow_blank=True)
    description_en = _text(4000, required=False, allow_blank=True)
    min_quantity = _whole(required=False)
    step = _whole(required=False)
    min_hours = _whole(required=False)
    max_hours = _whole(required=False)
    lead_hours = _whole(required=False)
    cancellation_terms = TermShape(many=True, required=False)
    service_level_percent = _text(10, required=False, allow_null=True)
    service_credit_percent = _text(10, required=False, allow_null=True)
    terms = _text(10_000, required=False, allow_blank=True)


class AskOffering(_OfferingFields):
    pool = serializers.IntegerField(min_value=1, max_value=MOST_ID)
    tariff = _text(60)
    code = _text(60)
    name = _text(100)
    max_quantity = _whole()


class ChangeOffering(_OfferingFields):
    name = _text(100, required=False)
    max_quantity = _whole(required=False)
    tariff = _text(60, required=False)


class AskPrices(serializers.Serializer[Any]):
    document = serializers.DictField(
        help_text="A tariff document, as docs/tariffs.md says. Its `code` says which tariff."
    )

    def validate_document(self, document: dict[str, Any]) -> dict[str, Any]:
        """What the tariffs' own reader leaves to the database."""
        code = document.get("code")
        if isinstance(code, str) and len(code) > MOST_CODE:
            raise serializers.ValidationError({"code": [_("At most %(most)d characters.") % {"most": MOST_CODE}]})
        effective = document.get("effective")
        for place, day in enumerate(effective if isinstance(effective, list) else []):
            if isinstance(day, str) and day[:4].isdigit() and not FIRST_YEAR <= int(day[:4]) <= LAST_YEAR:
                said = _("A day of the years %(first)d to %(last)d.") % {"first": FIRST_YEAR, "last": LAST_YEAR}
                raise serializers.ValidationError({f"effective[{place}]": [said]})
        return document


class AskHours(serializers.Serializer[Any]):
    from_at = Instant(required=False, help_text="A whole hour; the next one if it is left out.")
    hours = serializers.IntegerField(min_value=1, max_value=744, required=False, default=168)


# Search


class AskSearch(serializers.Serializer[Any]):
    """Parameters of the address; those that are lists may stand several times."""

    accelerator = serializers.ListField(child=_text(60), required=False)
    vendor = serializers.ListField(child=_text(60), required=False)
    like = _text(60, required=False)
    min_memory_gb = serializers.DecimalField(12, 2, min_value=0, required=False)
    interconnect = serializers.ListField(child=_text(60), required=False)
    region = serializers.ListField(child=_text(60), required=False)
    provider = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MOST_ID),
        required=False,
        help_text="Ids, as facets have them.",
    )
    max_price = serializers.DecimalField(14, 4, min_value=0, required=False)
    quantity = serializers.IntegerField(min_value=1, max_value=1_000_000, required=False)
    tflops = serializers.DecimalField(14, 3, min_value=0, required=False)
    precision = serializers.ChoiceField(PRECISIONS, required=False, help_text="Of tflops.")
    min_tflops = serializers.DecimalField(14, 3, min_value=0, required=False, help_text="Of each GPU, dense.")
    min_tflops_precision = serializers.ChoiceField(PRECISIONS, required=False, default="bf16")
    limit = serializers.IntegerField(min_value=1, max_value=100, required=False)


class AskOfferings(AskSearch):
    free_from = Instant(required=False)
    free_until = Instant(required=False)
    order = serializers.ChoiceField(["price", "-price", "-memory"], required=False)
    cursor = _text(500, required=False)


class AskWindows(AskSearch):
    min_hours = _whole(required=False)
    max_hours = _whole(required=False)
    earliest_at = Instant(required=False)
    latest_at = Instant(required=False)
    order = serializers.ChoiceField(["price", "soonest"], required=False)


class AskCalendar(serializers.Serializer[Any]):
    quantity = serializers.IntegerField(min_value=1, max_value=1_000_000, required=False, default=1)
    from_at = Instant(required=False)
    days = serializers.IntegerField(min_value=1, max_value=92, required=False, default=14)


class AskComparison(serializers.Serializer[Any]):
    offering = serializers.ListField(child=_text(60), min_length=2, max_length=4)
    quantity = serializers.IntegerField(min_value=1, max_value=1_000_000)
    start_at = Instant()
    end_at = Instant()
