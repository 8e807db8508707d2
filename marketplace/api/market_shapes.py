"""What the API says of the market: what a search finds, its counts, the best windows, calendars and comparisons."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from marketplace.api.reading import Instant
from marketplace.api.shapes import Amount, OfferingShape


class PricedShape(serializers.Serializer[Any]):
    """`price_after`: what programmes that the key's organization has a grant of would leave to pay of `price`, by what caps and
    budgets have left now; null where they pay nothing of it. What is found is in the order of `price`.
    """

    price_after = serializers.SerializerMethodField()

    @extend_schema_field(Amount(allow_null=True))
    def get_price_after(self, row: Any) -> str | None:
        found = self.context["view"].price_after(row)
        return None if found is None else f"{found:f}"


class ListedShape(serializers.Serializer[Any]):
    """`price`: the mean of a GPU-hour, without tax; `quantity`: how many GPUs fit what is wanted."""

    offering = OfferingShape()
    quantity = serializers.IntegerField()
    price = Amount()
    currency = serializers.CharField()


@extend_schema_serializer(many=False)
class FoundShape(serializers.Serializer[Any]):
    """A page. `next_cursor` asks for the next one; null after the last."""

    results = ListedShape(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class FacetShape(serializers.Serializer[Any]):
    value = serializers.CharField()
    label = serializers.CharField()
    count = serializers.IntegerField()


class FacetsByShape(serializers.Serializer[Any]):
    accelerators = FacetShape(many=True)
    vendors = FacetShape(many=True)
    memory = FacetShape(many=True)
    interconnects = FacetShape(many=True)
    regions = FacetShape(many=True)
    providers = FacetShape(many=True)


class FacetsShape(serializers.Serializer[Any]):
    """`least`, `most`: the range of the mean prices of a GPU-hour; null where nothing fits."""

    total = serializers.IntegerField()
    least = Amount(allow_null=True)
    most = Amount(allow_null=True)
    by = FacetsByShape()


class MatchShape(PricedShape):
    """`price`: of the whole window, without tax; `per_hour`: of a GPU-hour. As many GPUs are free until `free_until`."""

    offering = OfferingShape()
    quantity = serializers.IntegerField()
    start_at = Instant()
    end_at = Instant()
    free_until = Instant()
    price = Amount()
    per_hour = Amount()
    currency = serializers.CharField()


@extend_schema_serializer(many=False)
class RankedShape(serializers.Serializer[Any]):
    """The best window of each of the best offerings. Not `certain`: a better one may be among those that weren't examined."""

    results = MatchShape(many=True, source="matches")
    certain = serializers.BooleanField()
    examined = serializers.IntegerField()


class CellShape(serializers.Serializer[Any]):
    start_at = Instant()
    free = serializers.IntegerField()
    price = Amount(allow_null=True)
    bookable = serializers.BooleanField()


class DayShape(serializers.Serializer[Any]):
    date = serializers.DateField()
    cells = CellShape(many=True)


class CalendarShape(serializers.Serializer[Any]):
    """Local days, hour by hour; `price` of a GPU-hour, without tax, null where there is none yet."""

    timezone = serializers.CharField()
    currency = serializers.CharField()
    days = DayShape(many=True)


class ComparedShape(PricedShape):
    """`problems`: why it can't be reserved so. `price`: of the whole window, without tax; null where hours have none."""

    offering = OfferingShape()
    currency = serializers.CharField()
    price = Amount(allow_null=True)
    free = serializers.IntegerField()
    problems = serializers.ListField(child=serializers.ChoiceField(["quantity", "hours", "lead", "free", "price"]))


@extend_schema_serializer(many=False)
class ComparisonShape(serializers.Serializer[Any]):
    results = ComparedShape(many=True)
