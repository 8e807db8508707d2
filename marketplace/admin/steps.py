"""Rows that go from state to state by buttons: the question, what stands in the way, and what is said when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.utils.translation import gettext

from marketplace.admin.page import ReasonForm, asked, confirmed
from marketplace.admin.site import staff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django import forms
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest, HttpResponse

    from marketplace.admin.page import Table, Text

    _ModelAdmin = ModelAdmin[Any]
else:
    _ModelAdmin = object


def sent(request: HttpRequest) -> Any:
    """What a form is made of: nothing before it is sent."""
    return request.POST if request.method == "POST" else None


def not_in(row: Any, states: Sequence[str]) -> str:
    """Why that can't be done to a row that is in no such state; empty if it is in one."""
    if row.state in states:
        return ""
    return gettext("This can't be done: its state is “%(state)s”.") % {"state": row.get_state_display()}


class Steps(_ModelAdmin):
    """Of an admin of rows with a `state`: `refusals` are what its verbs raise, `called` names a row."""

    refusals: tuple[type[Exception], ...] = ()

    def called(self, row: Any) -> str:
        raise NotImplementedError

    def ask(
        self,
        request: HttpRequest,
        row: Any,
        what: Text,
        act: Callable[[dict[str, Any]], Any],
        *,
        states: Sequence[str],
        form: forms.Form | None = None,
        answer: Text = "",
        intro: Text = "",
        tables: Sequence[Table] = (),
        obstacle: str = "",
    ) -> HttpResponse:
        """The page that asks for the facts of a step, or else for its reason alone; `answer`: the button, `what` if not told."""

        def done(facts: dict[str, Any]) -> None:
            act(facts)
            self._done(request, row)

        return asked(
            request,
            title=f"{self.called(row)}: {what}",
            form=ReasonForm(sent(request)) if form is None else form,
            answer=answer or what,
            back=self._address(row),
            act=done,
            refusals=self.refusals,
            intro=intro,
            tables=tables,
            obstacle=not_in(row, states) or obstacle,
        )

    def confirm(
        self,
        request: HttpRequest,
        row: Any,
        what: Text,
        act: Callable[[], Any],
        *,
        states: Sequence[str],
        question: Text,
        obstacle: str = "",
    ) -> HttpResponse:
        """The page that asks before a step that needs no facts."""

        def done() -> None:
            act()
            self._done(request, row)

        return confirmed(
            request,
            title=f"{self.called(row)}: {what}",
            question=question,
            answer=what,
            back=self._address(row),
            act=done,
            obstacle=not_in(row, states) or obstacle,
        )

    def _address(self, row: Any) -> str:
        return staff.address(f"{self.opts.app_label}_{self.opts.model_name}_change", row.pk)

    def _done(self, request: HttpRequest, row: Any) -> None:
        """The history says which step it was, by the last part of its address."""
        self.log_change(request, row, request.path.rstrip("/").rpartition("/")[2])
        told = {"row": self.called(row), "state": row.get_state_display()}
        messages.success(request, gettext("%(row)s: it is done. Its state is “%(state)s”.") % told)
