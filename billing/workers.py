"""Worker processes that read the same database. Imports no models, so that a new process can begin here."""

import gc
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any

import django
from django.conf import settings
from django.db import connection


def pool(processes: int) -> ProcessPoolExecutor:
    """A pool of processes of their own making ("spawn": a fork would share the open connection and its locks)."""
    return ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(settings.SETTINGS_MODULE, dict(connection.settings_dict)),
    )


def _begin(settings_module: str, database: dict[str, Any]) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
    django.setup()
    os.nice(5)  # those who wait for what is made here go first: who issues in order, and the web server
    gc.freeze()  # what is loaded stays: the collector is not to walk through it again and again
    connection.settings_dict.update(database)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent closes no queue: without this its workers would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
