"""What makes reservations run: a controller that compares what should run with what runs, and backends that do it.

`backend` has the interface, with one module for each backend (`manual`: people do it, by tasks); `controller` asks them;
`credentials` carries access from provider to buyer; `letters` tells people; `service_level` credits what was not delivered.
"""

from marketplace.provisioning.controller import NotReconciledError, reconcile, sweep
from marketplace.provisioning.manual import TaskVoidError, tick_off

__all__ = ["NotReconciledError", "TaskVoidError", "reconcile", "sweep", "tick_off"]
