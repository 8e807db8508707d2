"""An event as a provider's meter sends it."""

from enum import Enum


def event(event_id="e1", value="59", seconds=60, *, time="2026-05-01T08:00:00+08:00", subject="sun-1", **attributes):
    """Without the attributes given as ABSENT."""
    made = {
        "specversion": "1.0",
        "id": event_id,
        "source": "aidc/earth",
        "type": "gpu.sample",
        "subject": subject,
        "time": time,
        "data": {"value": value, "duration_seconds": seconds},
    } | attributes
    return {name: given for name, given in made.items() if given is not ABSENT}


class Absent(Enum):
    """In place of a value: no such attribute. Its repr is the same in every process, so that tests have one name."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT
