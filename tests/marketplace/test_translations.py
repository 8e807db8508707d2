"""Whatever a page says, it says in Chinese too. The catalogue is read without gettext, which a newcomer may not have."""

import io
from pathlib import Path

from babel.messages.extract import extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent.parent
CATALOGUE = ROOT / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
KEYWORDS = {"gettext": None, "gettext_lazy": None, "_": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}


def told(message):
    """Its translations: one, or one for each plural form."""
    return [message.string] if isinstance(message.string, str) else [*message.string]


def written():
    """All messages in templates and source, as singular texts."""
    templates = [path for form in ("*.html", "*.txt") for path in sorted((ROOT / "templates").rglob(form))]
    texts = [templatize(path.read_text(), origin=str(path)) for path in templates]
    texts += [path.read_text() for top in ("billing", "marketplace") for path in sorted((ROOT / top).rglob("*.py"))]
    for text in texts:
        for _line, message, _comments, _context in extract("python", io.BytesIO(text.encode()), KEYWORDS):
            yield singular(next(part for part in message if part) if isinstance(message, tuple) else message)


def catalogue():
    with CATALOGUE.open("rb") as file:
        return {singular(message.id): message for message in read_po(file, locale="zh_Hans") if message.id}


def singular(said):
    """The text that stands for a message: of one with a plural, the first."""
    return said if isinstance(said, str) else said[0]


def test_every_message_is_translated_and_none_is_left_over():
    assert set(catalogue()) == set(written())
    assert [message.id for message in catalogue().values() if message.fuzzy or not all(told(message))] == []


def test_the_compiled_catalogue_is_up_to_date():
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = {singular(message.id): told(message) for message in read_mo(file) if message.id}
    assert compiled == {name: told(message) for name, message in catalogue().items()}
