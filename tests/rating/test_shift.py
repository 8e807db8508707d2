"""Use moved within a day: by hand, and what holds for every day."""

from hypothesis import given
from hypothesis import strategies as st

from billing.rating.shift import later, moved

DAY = st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(["peak", "flat", "valley"])), max_size=100)


def test_all_of_a_day_goes_later_and_what_leaves_it_at_its_end_comes_in_at_its_start():
    assert later([1, 2, 3, 4], 1) == [4, 1, 2, 3]
    assert later([1, 2, 3, 4], -1) == [2, 3, 4, 1]
    assert later([1, 2, 3, 4], 0) == later([1, 2, 3, 4], 8) == [1, 2, 3, 4]
    assert later([], 3) == []


def test_a_part_of_the_peak_is_spread_evenly_over_the_valley():
    # 50 % of 5 + 6 is 5.5, rounded down 5: of the first 2 (2.5 rounded down), of the second the 3 that are left of 5.
    # Over three intervals of the valley 5 are 1, 2 and 2: 1.66… and 3.33… rounded down are 1 and 3.
    names = ["valley", "peak", "valley", "peak", "flat", "valley"]
    assert moved([10, 5, 10, 6, 7, 0], names, percent=50, source="peak", target="valley") == [11, 3, 12, 3, 7, 2]


def test_a_day_without_one_of_the_two_is_left_as_it_was():
    assert moved([4, 4], ["peak", "peak"], percent=50, source="peak", target="valley") == [4, 4]
    assert moved([4, 4], ["flat", "valley"], percent=50, source="peak", target="valley") == [4, 4]
    assert moved([4, 4], ["peak", "valley"], percent=50, source="peak", target="peak") == [4, 4]


@given(DAY, st.integers(-200, 200))
def test_whatever_goes_later_comes_back_and_none_is_lost(day, places):
    quantities = [quantity for quantity, _ in day]
    found = later(quantities, places)
    assert sorted(found) == sorted(quantities)
    assert later(found, -places) == quantities


@given(DAY, st.integers(0, 100))
def test_whatever_is_moved_none_is_lost_and_no_interval_falls_below_its_part(day, percent):
    quantities, names = [quantity for quantity, _ in day], [name for _, name in day]
    found = moved(quantities, names, percent=percent, source="peak", target="valley")
    assert sum(found) == sum(quantities)
    for before, after, name in zip(quantities, found, names, strict=True):
        least = {"peak": before * (100 - percent) // 100 - 1, "flat": before, "valley": before}[name]
        most = before if name != "valley" else sum(quantities)
        assert max(0, least) <= after <= most
