"""Who calls: behind a proxy a request's address is the proxy's, and attempts would be counted for everybody together."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Stands before all that looks at REMOTE_ADDR."""

    def handle(request: HttpRequest) -> HttpResponse:
        request.META["REMOTE_ADDR"] = _address(
            request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", "")
        )
        return get_response(request)

    return handle


def _address(peer: str, forwarded: str) -> str:
    """The last address of X-Forwarded-For that no trusted proxy has. What stands before it the caller may have made up."""
    trusted, address = settings.FORWARDED_ALLOW_IPS, peer
    hops = [hop.strip() for hop in forwarded.split(",")]
    if trusted == {"*"}:  # whoever is the peer is a proxy; what it forwards for is none
        return _read(hops[-1]) or peer
    while hops and (not address or address in trusted):  # without an address: a Unix socket
        hop = _read(hops.pop())
        if not hop:
            break
        address = hop
    return address


def _read(hop: str) -> str:
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return ""
