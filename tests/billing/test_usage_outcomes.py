"""What becomes of each item of a batch."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from billing.models import EventSource, UsageEvent
from billing.usage import Event, record
from tests.billing.usage_world import END, NOW, START, at, meter, readings, sample, world

pytestmark = pytest.mark.django_db

COUNTED = ("counted", None, None)
DUPLICATE = ("duplicate", None, None)
SHANGHAI = timezone(timedelta(hours=8))


@pytest.fixture
def house():
    return world()


class Text(str):
    __slots__ = ()


def test_a_sample_is_counted_stored_as_sent_and_read(house):
    assert house.only(sample("e1", "59", 60, time=datetime(2020, 5, 1, tzinfo=SHANGHAI))) == COUNTED
    event = UsageEvent.objects.get()
    assert (event.source.owner, event.source.name, event.event_id) == (house.provider, "aidc", "e1")
    assert (event.contract.number, event.meter.code) == ("C-1", "gpu_hours")
    assert (event.time, event.duration_seconds, event.value, event.quantity) == (START, 60, Decimal(59), 3540)
    assert (event.recorded_at, event.type, event.subject, event.data, event.unmatched_reason) == (NOW,) + 4 * (None,)
    assert readings() == {("C-1", "gpu_hours", START): 3540}


def test_results_stand_in_the_order_of_the_items_and_counts_name_every_outcome(house):
    house.record(sample("old", "1"))
    recorded = house.record(
        sample("new"),
        sample("old", "2"),
        sample("bad", "-1"),
        sample("old", "1"),
        sample("lost", subject="C-9"),
        sample("new"),
    )
    assert [(result.id, result.outcome) for result in recorded.results] == [
        ("new", "counted"),
        ("old", "conflict"),
        ("bad", "rejected"),
        ("old", "duplicate"),
        ("lost", "unmatched"),
        ("new", "duplicate"),
    ]
    assert recorded.counts == {"counted": 1, "duplicate": 2, "conflict": 1, "unmatched": 1, "rejected": 1}
    assert list(recorded.counts) == ["counted", "duplicate", "conflict", "unmatched", "rejected"]


def test_an_empty_batch_has_no_results(house):
    recorded = house.record()
    assert (list(recorded.results), sum(recorded.counts.values())) == ([], 0)


@pytest.mark.parametrize(
    "again",
    [
        sample("e1", "59"),
        sample("e1", 59),
        sample("e1", "59.0"),
        sample("e1", "059.000"),
        sample("e1", Decimal("5.9E+1")),
        sample("e1", seconds=Decimal("60.0")),
        sample("e1", time=datetime(2020, 5, 1, tzinfo=SHANGHAI)),
        sample("e1", unit="GPU"),
    ],
)
def test_the_same_content_in_another_spelling_is_a_duplicate(house, again):
    house.record(sample("e1", "59"))
    assert house.only(again) == DUPLICATE
    assert house.outcomes(sample("e2", "59"), again._replace(id="e2")) == ["counted", "duplicate"]
    assert readings() == {("C-1", "gpu_hours", START): 2 * 3540}


@pytest.mark.parametrize(
    ("other", "field", "was"),
    [
        (sample(value="60"), "data.value", "'59'"),
        (sample(value="59.5"), "data.value", "'59'"),
        (sample(seconds=61), "data.duration_seconds", "'60'"),
        (sample(time=at(microseconds=1)), "time", "'2020-04-30T16:00:00.000000Z'"),
        (sample(time=at(minutes=-1)), "time", "'2020-04-30T16:00:00.000000Z'"),
        (sample(subject="C-2"), "subject", "'C-1'"),
        (sample(subject="C-9"), "subject", "'C-1'"),
        (sample(type="gpu.power"), "type", "'gpu.sample'"),
        (sample(type="unknown"), "type", "'gpu.sample'"),
    ],
)
def test_other_content_under_a_taken_id_is_a_conflict_and_is_not_stored(house, other, field, was):
    meter("power", "gpu.power")
    expected = ("conflict", field, f"the event of this id has {was}: expected the same, or another id")
    house.record(sample("e1"))
    assert house.only(other) == expected
    in_one_batch = [sample("e2"), other._replace(id="e2"), sample("e2")]
    assert [result[1:] for result in house.record(*in_one_batch).results] == [COUNTED, expected, DUPLICATE]
    assert readings() == {("C-1", "gpu_hours", START): 2 * 3540}
    assert UsageEvent.objects.count() == 2


def test_a_rival_within_the_batch_is_judged_by_what_was_stored_before(house):
    house.record(sample("e1", "1"))
    assert house.outcomes(sample("e1", "2"), sample("e1", "1"), sample("e1", "2")) == [
        "conflict",
        "duplicate",
        "conflict",
    ]


def test_ids_are_told_apart_by_owner_and_source_and_by_every_character(house):
    contract = house.contract("C-3", provider=house.other_provider)
    events = [
        sample("e"),
        sample("E"),
        sample("e "),
        sample("\u00e9"),
        sample("e\u0301"),
        sample("e", source="b"),
        sample("\\N"),
    ]
    assert house.outcomes(*events) == 7 * ["counted"]
    recorded = record(owner=house.other_provider, events=[sample("e", subject=contract.number)], at=NOW)
    assert recorded.counts["counted"] == 1
    assert list(EventSource.objects.order_by("owner_id", "name").values_list("owner_id", "name")) == [
        (house.provider.pk, "aidc"),
        (house.provider.pk, "b"),
        (house.other_provider.pk, "aidc"),
    ]


def test_texts_of_any_characters_are_kept_as_they_are(house):
    ids = ["tab\tline\nreturn\r", "back\\slash \\. \\n", '"quoted", %s %(a)s', "算力🙂", "\x01\x7f", "x" * 255]
    assert house.outcomes(*(sample(each, subject=each, source=each) for each in ids)) == 6 * ["unmatched"]
    assert set(UsageEvent.objects.values_list("event_id", "subject", "source__name")) == {(each,) * 3 for each in ids}
    assert house.outcomes(*(sample(each, subject=each, source=each) for each in ids)) == 6 * ["duplicate"]
    assert house.only(sample(Text("own"), subject=Text("C-1"))) == COUNTED


WHOLE_SECONDS = "expected a whole number of seconds from 1 to 86,400"
A_DECIMAL = 'expected a decimal such as "59" or "59.5", zero or more'
DEEP = []
for _ in range(2000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("event", "field", "reason"),
    [
        (sample(""), "id", "0 characters: expected 1 to 255"),
        (sample("x" * 256), "id", "256 characters: expected 1 to 255"),
        (sample("a\0b"), "id", "'a\\x00b': expected no NUL and no lone surrogate"),
        (sample("\ud800"), "id", "'\\ud800': expected no NUL and no lone surrogate"),
        (sample(None), "id", "None is no text: expected 1 to 255 characters"),
        (sample(7), "id", "7 is no text: expected 1 to 255 characters"),
        (sample(["a"]), "id", "a list is no text: expected 1 to 255 characters"),
        (sample(source=""), "source", "0 characters: expected 1 to 255"),
        (sample(source="s\0"), "source", "'s\\x00': expected no NUL and no lone surrogate"),
        (sample(source={}), "source", "a dict is no text: expected 1 to 255 characters"),
        (sample(type=True), "type", "True is no text: expected 1 to 255 characters"),
        (sample(type="t" * 256), "type", "256 characters: expected 1 to 255"),
        (sample(subject=None), "subject", "None is no text: expected 1 to 255 characters"),
        (sample(subject="\udfff"), "subject", "'\\udfff': expected no NUL and no lone surrogate"),
        (sample(time="2020-05-01"), "time", "'2020-05-01': expected a date and time with an offset from UTC"),
        (sample(time=None), "time", "None: expected a date and time with an offset from UTC"),
        (
            sample(time=datetime(2020, 5, 1)),  # noqa: DTZ001
            "time",
            "2020-05-01T00:00:00 has no offset from UTC: expected one, such as +08:00",
        ),
        (
            sample(time=NOW + timedelta(seconds=300, microseconds=1)),
            "time",
            "2020-06-01T00:05:00.000001+00:00: expected at most 5 minutes in the future",
        ),
        (
            sample(time=datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=8)))),
            "time",
            "9999-12-31T23:00:00-08:00: expected at most 5 minutes in the future",
        ),
        (
            sample(time=datetime(1, 1, 1, tzinfo=SHANGHAI)),
            "time",
            "0001-01-01T00:00:00+08:00: expected the year 1 or later, in UTC",
        ),
        (sample()._replace(data=None), "data", "None: expected an object"),
        (sample()._replace(data=[1]), "data", "a list: expected an object"),
        (sample()._replace(data={"duration_seconds": 60}), "data.value", f"missing: {A_DECIMAL}"),
        (sample(value=None), "data.value", f"None: {A_DECIMAL}"),
        (sample(value=True), "data.value", f"True: {A_DECIMAL}"),
        (sample(value=59.0), "data.value", f"59.0: {A_DECIMAL}"),
        (sample(value=float("nan")), "data.value", f"nan: {A_DECIMAL}"),
        (sample(value=["59"]), "data.value", f"a list: {A_DECIMAL}"),
        (sample(value=""), "data.value", f"'': {A_DECIMAL}"),
        (sample(value="59 "), "data.value", f"'59 ': {A_DECIMAL}"),
        (sample(value="+59"), "data.value", f"'+59': {A_DECIMAL}"),
        (sample(value="5e1"), "data.value", f"'5e1': {A_DECIMAL}"),
        (sample(value="1_000"), "data.value", f"'1_000': {A_DECIMAL}"),
        (sample(value="５９"), "data.value", f"'５９': {A_DECIMAL}"),
        (sample(value="NaN"), "data.value", f"'NaN': {A_DECIMAL}"),
        (sample(value="59\n"), "data.value", f"'59\\n': {A_DECIMAL}"),
        (sample(value=Decimal("NaN")), "data.value", f"NaN is not finite: {A_DECIMAL}"),
        (sample(value=Decimal("sNaN")), "data.value", f"sNaN is not finite: {A_DECIMAL}"),
        (sample(value=Decimal("-Infinity")), "data.value", f"-Infinity is not finite: {A_DECIMAL}"),
        (sample(value=-1), "data.value", f"-1 is negative: {A_DECIMAL}"),
        (sample(value="-0.000000001"), "data.value", f"'-0.000000001' is negative: {A_DECIMAL}"),
        (sample(value="0.0000000001"), "data.value", "'0.0000000001' has 10 decimals: expected at most 9"),
        (sample(value="1" * 30), "data.value", f"'{'1' * 30}': expected at most 29 digits before the point"),
        (sample(value="9" * 100), "data.value", f"'{'9' * 80}…': {A_DECIMAL}"),
        (sample(value=10**40), "data.value", f"{10**40}: expected at most 29 digits before the point"),
        (sample(value=10**9999), "data.value", "a number of 33216 bits: expected at most 29 digits before the point"),
        (
            sample(value=Decimal("1E+999999")),
            "data.value",
            "1E+999999: expected at most 29 digits before the point and 9 after",
        ),
        (
            sample(value=Decimal("1E-999999")),
            "data.value",
            "1E-999999: expected at most 29 digits before the point and 9 after",
        ),
        (
            sample(value="0.01", seconds=7),
            "data.value",
            "'0.01' x 7 seconds is no whole number of gpu_hours_base: expected one",
        ),
        (
            sample(value=2**63, seconds=1),
            "data.value",
            "9223372036854775808 gpu_hours_base: expected at most 9223372036854775807",
        ),
        (sample()._replace(data={"value": 1}), "data.duration_seconds", f"missing: {WHOLE_SECONDS}"),
        (sample(seconds=0), "data.duration_seconds", f"0: {WHOLE_SECONDS}"),
        (sample(seconds=-60), "data.duration_seconds", f"-60: {WHOLE_SECONDS}"),
        (sample(seconds=86_401), "data.duration_seconds", f"86401: {WHOLE_SECONDS}"),
        (sample(seconds=True), "data.duration_seconds", f"True: {WHOLE_SECONDS}"),
        (sample(seconds="60"), "data.duration_seconds", f"'60': {WHOLE_SECONDS}"),
        (sample(seconds=60.0), "data.duration_seconds", f"60.0: {WHOLE_SECONDS}"),
        (sample(seconds=Decimal("60.5")), "data.duration_seconds", f"60.5: {WHOLE_SECONDS}"),
        (sample(seconds=Decimal("NaN")), "data.duration_seconds", f"NaN: {WHOLE_SECONDS}"),
        (sample(seconds=Decimal("Infinity")), "data.duration_seconds", f"Infinity: {WHOLE_SECONDS}"),
        (
            sample(type="none", note="\0"),
            "data",
            "'\\x00' has a NUL: expected JSON of finite numbers and of texts without NUL",
        ),
        (sample(type="none", note="\ud800"), "data", "expected no lone surrogate"),
        (sample(type="none", note="x" * 65_536), "data", "65582 bytes: expected at most 65,536"),
    ],
)
def test_what_can_not_be_right_is_rejected_with_field_and_reason_and_leaves_its_id_free(house, event, field, reason):
    good = sample("good")
    results = list(house.record(good, event, sample("last")).results)
    assert [result[1:] for result in results] == [COUNTED, ("rejected", field, reason), COUNTED]
    if event.id == "e1":
        assert house.only(sample("e1")) == COUNTED
        assert house.outcomes(event) == ["rejected"]


@pytest.mark.parametrize(
    "note",
    [DEEP, object(), 1.5, Decimal("NaN"), Decimal("1E+1001"), 10**5000, {1: 2}],
    ids=["deep", "object", "float", "nan", "exponent", "digits", "name"],
)
def test_data_of_an_unknown_meter_that_are_no_json_are_rejected(house, note):
    outcome, field, _ = house.only(sample(type="none", note=note))
    assert (outcome, field) == ("rejected", "data")


@pytest.mark.parametrize(
    ("event", "quantity"),
    [
        (sample(value="0"), 0),
        (sample(value="-0.0"), 0),
        (sample(value="0.5"), 30),
        (sample(value="0.000000001", seconds=1), None),
        (sample(value=Decimal("0E-300")), 0),
        (sample(value="59.000000000000"), 3540),
        (sample(value=2**63 - 1, seconds=1), 2**63 - 1),
        (sample(value="1", seconds=86_400), 86_400),
        (sample(time=at(minutes=44_639)), 3540),
    ],
)
def test_the_greatest_and_least_that_can_be_are_counted(house, event, quantity):
    outcome = house.outcomes(event)
    if quantity is None:
        assert outcome == ["rejected"]
    else:
        assert outcome == ["counted"]
        assert sum(readings().values()) == quantity


def test_a_time_may_lie_five_minutes_after_now_and_in_the_year_one(house):
    late, early = sample("late", time=NOW + timedelta(minutes=5)), sample("early", time=datetime(1, 1, 1, tzinfo=UTC))
    assert house.outcomes(late, early) == ["unmatched", "unmatched"]
    assert UsageEvent.objects.get(event_id="early").time == datetime(1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "field", "reason"),
    [
        (sample(type="unknown"), "type", "unknown_meter"),
        (sample(type="unknown", subject="C-9"), "type", "unknown_meter"),
        (sample(subject="C-9"), "subject", "unknown_subject"),
        (sample(subject="c-1"), "subject", "unknown_subject"),
        (sample(subject="C-OTHER"), "subject", "unknown_subject"),
        (sample(time=at(microseconds=-1)), "time", "outside_contract"),
        (sample(time=END), "time", "outside_contract"),
        (sample(time=END - timedelta(seconds=59)), "time", "outside_contract"),
    ],
)
def test_what_finds_no_contract_is_kept_with_its_reason_and_takes_its_id(house, event, field, reason):
    house.contract("C-OTHER", provider=house.other_provider)
    assert house.only(event) == ("unmatched", field, reason)
    assert house.only(event) == DUPLICATE
    assert house.outcomes(event._replace(subject="C-2", time=at(1), type="gpu.sample")) == ["conflict"]
    kept = UsageEvent.objects.get()
    assert (kept.contract, kept.meter, kept.type, kept.subject, kept.time) == (None, None, *event[2:5])
    assert kept.unmatched_reason == reason
    assert readings() == {}


def test_the_last_second_of_a_contract_is_inside_and_a_contract_without_an_end_has_no_last(house):
    house.contract("C-OPEN", end_at=None)
    events = [
        sample("first", time=START),
        sample("last", time=END - timedelta(seconds=60)),
        sample("open", time=END, subject="C-OPEN"),
    ]
    assert house.outcomes(*events) == 3 * ["counted"]


def test_data_of_an_unknown_meter_are_kept_as_sent_and_compared_as_numbers(house):
    event = sample(type="disk", value=Decimal("1.50"), labels={"a": [1, None, "\\u0000"]})
    assert house.outcomes(event) == ["unmatched"]
    kept = UsageEvent.objects.get()
    assert kept.data == {"value": 1.5, "duration_seconds": 60, "labels": {"a": [1, None, "\\u0000"]}}
    assert (kept.value, kept.quantity) == (None, None)
    same = event._replace(data=event.data | {"value": "1.5", "duration_seconds": Decimal(60)})
    other = event._replace(data=event.data | {"labels": {"a": [2, None, "\\u0000"]}})
    assert house.outcomes(same, other) == ["duplicate", "conflict"]


def test_a_batch_asks_as_often_for_three_contracts_as_for_one(house, django_assert_num_queries):
    house.contract("C-3")
    house.record(sample("warm"))
    # Source, meter, contract, staging table, COPY, store, fold, and two savepoints with their releases.
    with django_assert_num_queries(11):
        house.record(sample("a"))
    with django_assert_num_queries(11):
        house.record(*(sample(f"b{n}", subject=f"C-{n}") for n in (1, 2, 3)))
    # And the way back to the savepoint, what is taken and by what, and the new ones again.
    with django_assert_num_queries(16):
        house.record(sample("a"))
    with django_assert_num_queries(16):
        house.record(*(sample(f"b{n}", subject=f"C-{n}") for n in (1, 2, 3)))


def test_nothing_of_a_batch_stays_when_it_fails(house):
    with pytest.raises(ZeroDivisionError):
        house.record(sample("a"), BadEvent("b", "aidc", "gpu.sample", "C-1", START, {}))
    assert (UsageEvent.objects.count(), readings()) == (0, {})
    assert house.outcomes(sample("a")) == ["counted"]


class BadEvent(Event):
    def __getitem__(self, place):
        if place == 4:
            raise ZeroDivisionError
        return super().__getitem__(place)
