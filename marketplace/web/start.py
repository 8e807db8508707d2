"""The start page: what Suanli is, for those who have not signed in; in a demo, what it made."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from . import demo


@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """For those who have signed in, their month."""
    if request.user.is_authenticated:
        return redirect("month")
    context = {"demo": demo.overview()} if demo.is_shown(request) else {}
    return render(request, "marketplace/start.html", context)
