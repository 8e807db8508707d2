import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path():
    """A closed folder of the test's own, outside pytest's: each pytest that starts takes the ACL entries from its parent."""
    with tempfile.TemporaryDirectory(prefix="suanli-test-") as folder:
        yield Path(folder)
