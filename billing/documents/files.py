"""Invoices as files in a folder: NUMBER.zh-hans.pdf, NUMBER.en.pdf."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO
from urllib.parse import quote

from billing import workers
from billing.documents.invoice import render_invoice
from billing.documents.labels import LANGUAGES, Language

# A process of its own takes about half a second to begin: the time of some 20 documents.
WORTH_MORE_PROCESSES = 200
_BATCH = 16


class SameNumberError(Exception):
    """Two invoices of one call would be written to the same file."""


def write_invoices(
    *,
    snapshots: Iterable[str],
    folder: Path,
    languages: Sequence[Language] = LANGUAGES,
    processes: int = 1,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Write each snapshot in each language into `folder`, made if need be; how many files were not there as they should be.

    Each file is written beside its name and then renamed, so that it is always whole; one with other content is replaced.
    With several processes memory stays constant too. `progress` is called with the number of files since its last call,
    those included that are left as they are.
    Raises SameNumberError, and what render_invoice raises.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for done in _written(_distinct(snapshots), folder, tuple(languages), processes):
        written += sum(done)
        if progress is not None:
            progress(len(done))
    return written


def file_name(*, number: str, language: Language) -> str:
    """The name of an invoice's file; what can't stand in a file's name is percent-encoded."""
    return f"{quote(number, safe='')}.{language}.pdf"


def _distinct(snapshots: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(number, snapshot). Raises SameNumberError at the second of one number."""
    seen: set[str] = set()
    for snapshot in snapshots:
        number: str = json.loads(snapshot)["number"]
        if number in seen:
            raise SameNumberError(f"two invoices have the number {number}: expected those of one issuer")
        seen.add(number)
        yield number, snapshot


def _written(
    invoices: Iterator[tuple[str, str]], folder: Path, languages: tuple[Language, ...], processes: int
) -> Iterator[list[bool]]:
    if processes == 1:
        for invoice in invoices:
            yield _write([invoice], folder, languages)
        return
    with workers.pool(processes) as pool:
        waiting = deque[Future[list[bool]]]()
        while batch := list(islice(invoices, _BATCH)):
            waiting.append(pool.submit(_write, batch, folder, languages))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _write(invoices: Sequence[tuple[str, str]], folder: Path, languages: tuple[Language, ...]) -> list[bool]:
    """For each file, whether it was written."""
    return [
        _write_one(snapshot, folder / file_name(number=number, language=language), language)
        for number, snapshot in invoices
        for language in languages
    ]


def _write_one(snapshot: str, path: Path, language: Language) -> bool:
    pdf = render_invoice(snapshot=snapshot, language=language)
    if path.is_file() and path.read_bytes() == pdf:
        return False
    with replacing(path) as file:
        file.write(pdf)
    return True


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file under a temporary name beside `path`; it becomes `path` at the end, or goes if something was raised."""
    temporary = path.with_name(f".{path.name}.{token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
