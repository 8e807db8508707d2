"""The one font that documents are set in, from the package rendercv-fonts, and whether it has a text's characters.

No font of the machine is ever used, so that every machine prints the same page; a character that the font lacks would
be printed as nothing or as a box, so it is refused.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # no stubs

FAMILY: Final = "Noto Sans SC"
# Both weights have the same characters; tests/billing/test_documents_fonts.py holds that.
FILES: Final = ("NotoSansSC-Regular.ttf", "NotoSansSC-Bold.ttf")


class FontMissingError(Exception):
    """The installation lacks the documents' font."""


class GlyphMissingError(Exception):
    """A text has a character that can't be printed. `field` is its place in the snapshot, `character` the character."""

    def __init__(self, field: str, value: str, character: str) -> None:
        # The arguments themselves, so that the error can pass from a worker process to its parent.
        super().__init__(field, value, character)
        self.field, self.value, self.character = field, value, character

    def __str__(self) -> str:
        name = unicodedata.name(self.character, "a character without a name")
        return (
            f"{self.field} is {self.value!r}: the font {FAMILY} has no U+{ord(self.character):04X} ({name}); expected only "
            f"characters that it has"
        )


def folder() -> Path:
    """Where the font's files are. Raises FontMissingError, which says what to install."""
    spec = find_spec("rendercv_fonts")
    if spec is None or spec.origin is None:
        raise FontMissingError(
            f"the font {FAMILY} is not installed: its package rendercv-fonts is missing; run `make setup`"
        )
    return require_files(Path(spec.origin).parent / "Noto Sans")


def require_files(path: Path) -> Path:
    """path, if the font's files are in it. Raises FontMissingError."""
    for file in FILES:
        if not (path / file).is_file():
            raise FontMissingError(
                f"the font {FAMILY} is not whole: {file} is missing in the package rendercv-fonts; reinstall it with "
                f"`make setup`"
            )
    return path


@cache
def characters() -> frozenset[int]:
    """The code points that the font can print."""
    with TTFont(folder() / FILES[0], lazy=True) as font:
        return frozenset(font.getBestCmap())


def require_glyphs(document: Any) -> None:
    """Raise GlyphMissingError for the first text of a JSON document, keys too, that holds an unprintable character.

    Line breaks and tabs are allowed: they are printed as a space.
    """
    for field, value in _texts(document, ""):
        if value.isascii() and value.isprintable():
            continue
        for character in value:
            if ord(character) not in characters() and character not in "\t\n\r":
                raise GlyphMissingError(field, value, character)


def _texts(document: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(document, str):
        yield field, document
    elif isinstance(document, dict):
        for key, value in document.items():
            below = f"{field}.{key}" if field else key
            yield below, key
            yield from _texts(value, below)
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from _texts(value, f"{field}[{index}]")
