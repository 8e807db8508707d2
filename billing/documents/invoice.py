"""An invoice as PDF: typst lays out templates/billing/invoice.typ with what content.py says."""

import json
import os
import threading
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import typst

from billing.documents import fonts
from billing.documents.content import content
from billing.documents.labels import LANGUAGES, Language

FORMAT: Final = "suanli-invoice/1"
TEMPLATE: Final = Path(__file__).resolve().parents[2] / "templates" / "billing" / "invoice.typ"
# For archives (ISO 19005-3): every font embedded, no outside reference; part 3 may carry attachments later.
PDF_STANDARD: Final = "a-3b"

_lock = threading.Lock()


class SnapshotRefusedError(Exception):
    """The text is no snapshot of an invoice in the format that this module prints."""


class LayoutError(Exception):
    """typst refused the page, or warned about it."""


def render_invoice(*, snapshot: str, language: Language) -> bytes:
    """The invoice of a snapshot as PDF/A-3b; the same bytes for the same snapshot, language and installation.

    Raises SnapshotRefusedError, fonts.FontMissingError, fonts.GlyphMissingError (which names the field), LayoutError.
    """
    pages, issued_at = _pages(snapshot, language)
    pdf = _compile(pages, issued_at, "pdf")
    assert isinstance(pdf, bytes)  # PNG alone gives a list
    return pdf


def preview_pages(*, snapshot: str, language: Language) -> list[bytes]:
    """The same pages as PNG pictures, one each, for a look at the layout."""
    pages, issued_at = _pages(snapshot, language)
    pictures = _compile(pages, issued_at, "png")
    return pictures if isinstance(pictures, list) else [pictures]


def _pages(snapshot: str, language: Language) -> tuple[str, datetime]:
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}: expected one of {', '.join(LANGUAGES)}")
    facts: dict[str, Any] = json.loads(snapshot)
    if facts.get("format") != FORMAT:
        raise SnapshotRefusedError(f"format is {facts.get('format')!r}: expected {FORMAT!r}")
    fonts.require_glyphs(facts)
    pages = content(snapshot=facts, language=language)
    return json.dumps(pages, ensure_ascii=False), datetime.fromisoformat(facts["issued_at"])


def _compile(pages: str, issued_at: datetime, output: Literal["pdf", "png"]) -> bytes | list[bytes]:
    # One compiler a process: it keeps the font and the laid-out template warm. It refuses a second thread.
    with _lock:
        try:
            made, warnings = _warm_compiler().compile_with_warnings(
                format=output,
                sys_inputs={"content": pages},
                timestamp=issued_at,
                pdf_standards=[PDF_STANDARD] if output == "pdf" else [],
            )
        except typst.TypstError as error:
            raise LayoutError(f"{TEMPLATE.name}: {error.message} {error.diagnostic}") from error
    if warnings:
        raise LayoutError(f"{TEMPLATE.name}: {'; '.join(warning.message for warning in warnings)}")
    assert made is not None  # no output path was given
    return made


def _warm_compiler() -> typst.Compiler:
    pid, compiler = _compiler()
    if pid != os.getpid():
        # typst's threads do not live on in a forked child: it would wait for them for ever.
        raise LayoutError(
            f"process {os.getpid()} was forked after {pid} had printed: expected a process started by spawn"
        )
    return compiler


@cache
def _compiler() -> tuple[int, typst.Compiler]:
    found = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(fonts.folder())])
    if fonts.FAMILY not in found.families():
        raise fonts.FontMissingError(
            f"the font {fonts.FAMILY} can't be read in the package rendercv-fonts; reinstall it"
        )
    return os.getpid(), typst.Compiler(str(TEMPLATE), font_paths=found)
