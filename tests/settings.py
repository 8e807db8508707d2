"""The settings under test: the product's own, on a data folder of the tests' and nothing else from the environment."""

import os
from pathlib import Path

for _name in ("DATABASE_URL", "SECRET_KEY", "DEBUG", "DEMO", "LOG_LEVEL", "SECOND_FACTOR"):
    os.environ.pop(_name, None)
os.environ["DATA_DIR"] = str(Path(__file__).resolve().parent.parent / ".data" / "tests")
os.environ["PUBLIC_URL"] = "http://127.0.0.1:8000"

from marketplace.settings import *  # noqa: E402, F403
from marketplace.settings import DATABASES  # noqa: E402

# Runs at the same time share one server and have databases of their own.
DATABASES["default"]["TEST"] = {"NAME": f"test_{os.getpid()}"}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a slow hash is the point in production only

SECOND_FACTOR = (
    "optional"  # tests sign in by force; those of the second factor ask for it (tests/web/test_second_factor.py)
)
