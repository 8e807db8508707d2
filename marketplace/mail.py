"""Letters by e-mail: plain text, from a template, in the reader's language."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends import filebased
from django.template.loader import render_to_string
from django.utils import translation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.utils.functional import _StrPromise


class Files(filebased.EmailBackend):
    """Letters as files, in a folder that only its owner reads: they hold links that let people in."""

    def __init__(self, *, file_path: str | None = None, **options: Any) -> None:
        folder = Path(file_path or settings.EMAIL_FILE_PATH)  # type: ignore[misc]  # set by environment.mail
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(file_path=str(folder), **options)


def send(*, to: str, subject: str | _StrPromise, template: str, context: Mapping[str, Any], language: str) -> None:
    """Send `templates/marketplace/mail/<template>.txt` to one address, in `language` ("zh-hans" or "en").

    It waits for the mail server: call it outside of a transaction, or by `transaction.on_commit`.
    """
    with translation.override(language):
        text = render_to_string(f"marketplace/mail/{template}.txt", {**context, "site": settings.PUBLIC_URL})
        title = " ".join(str(subject).split())  # one line, whatever a name held
    EmailMessage(subject=title, body=text.strip() + "\n", to=[to]).send()
