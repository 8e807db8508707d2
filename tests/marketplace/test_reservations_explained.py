"""Every refusal of reservations says something to people."""

import pytest
from django.utils.translation import override

from marketplace import capacity, reservations
from tests.marketplace.booking import AT, HOUR, START, make_market


def caught(error, call):
    with pytest.raises(error) as info:
        call()
    return info.value


@pytest.mark.django_db
def test_refusals_are_told_with_what_would_be_right():
    market = make_market()
    project = market.project(monthly_limit_minor=1_000)
    outside = caught(reservations.OutsideTermsError, lambda: market.quote(quantity=65))
    beyond = caught(reservations.BudgetExceededError, lambda: market.held(project=project))
    market.held(quantity=64)
    not_free = caught(capacity.NotFreeError, market.held)
    wrong = caught(
        reservations.WrongStateError,
        lambda: reservations.start(
            reservation=market.held(start_at=START + 20 * HOUR, end_at=START + 30 * HOUR), at=AT, actor="t"
        ),
    )
    with override("en"):
        assert reservations.explain(outside) == "GPUs is 65: expected 1 to 64."
        assert reservations.explain(beyond, money=lambda minor: f"{minor / 100:.2f}") == (
            "The budget of project research for 2020-05 is 10.00, and 0.00 of it are held, confirmed or used: 800.00 more do"
            " not fit."
        )
        assert reservations.explain(not_free).startswith(
            "8 GPUs are not free in all of these hours. The nearest that fit: "
        )
        assert reservations.explain(wrong) == "The reservation is in the state “Held”, in which this can't be done."
        gone = reservations.ShareChangedError(outside, promised_minor=24_000, left_minor=6_000, payable_minor=78_800)
        assert reservations.explain(gone, money=lambda minor: f"{minor / 100:.2f}") == (
            "Programmes pay 60.00 of it now, and you would pay 788.00: ask for a new quote."
        )
        assert reservations.explain(KeyError()) is None


def test_each_named_refusal_of_the_package_is_explained():
    plain = {
        getattr(reservations, name)
        for name in reservations.__all__
        if name.endswith("Error")
        and name
        not in (
            "OutsideTermsError",
            "BudgetExceededError",
            "ShareChangedError",
            "WrongStateError",
            "IsExtensionError",
            "NotAnExtensionError",
        )
    }
    assert len(plain) == 11
    with override("en"):
        assert all((reservations.explain(error.__new__(error)) or "").endswith(".") for error in plain)
