"""What the environment says of the worker."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from marketplace import environment


def test_the_queue_is_in_the_database_or_in_redis_and_named_after_its_worker():
    own = environment.queue({}, "here:8000")
    assert (own["name"], own["cluster_name"], own["orm"], own["workers"]) == ("suanli", "here:8000", "default", 2)
    other = environment.queue({"REDIS_URL": "redis://cache/0", "WORKERS": "5"}, "")
    assert (other["cluster_name"], other["redis"], other["queue_limit"]) == ("suanli", "redis://cache/0", 5)
    assert "orm" not in other


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: environment.queue({"REDIS_URL": "http://:hush@cache"}, ""), "REDIS_URL is not the address of a Redis"),
        (lambda: environment.queue({"WORKERS": "0"}, ""), "WORKERS='0' is not a whole number from 1 to 10000"),
        (
            lambda: environment.auto_close_after_days({"AUTO_CLOSE_AFTER_DAYS": "-1"}),
            "AUTO_CLOSE_AFTER_DAYS='-1' is not",
        ),
    ],
)
def test_settings_of_the_worker_that_can_not_be_meant_are_refused(read, message):
    with pytest.raises(ImproperlyConfigured, match=message) as refused:
        read()
    assert "hush" not in str(refused.value)


def test_periods_are_closed_three_days_after_their_end_unless_said_otherwise():
    said = [{}, {"AUTO_CLOSE_AFTER_DAYS": "0"}, {"AUTO_CLOSE_AFTER_DAYS": "never"}]
    assert [environment.auto_close_after_days(environ) for environ in said] == [3, 0, None]
