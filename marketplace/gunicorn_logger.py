"""Gunicorn's own records go where ours go; requests are logged by `marketplace.logs.middleware`."""

import logging.config
import os
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped]

from marketplace import logs


class GunicornLogger(glogging.Logger):  # type: ignore[misc]
    def setup(self, cfg: Any) -> None:
        """Called before the settings are loaded, which say the same."""
        logging.config.dictConfig(logs.configuration(form=os.environ.get("LOG_FORMAT", "line"), level="INFO"))
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True
