"""Ports for servers under test."""

import socket


def free_port():
    """A port of this machine that nobody else is given as long as this process lives.

    Its socket stays bound and never listens. A server that sets SO_REUSEADDR, as ours and PostgreSQL do, may listen beside
    it; whoever asks the kernel for any port, or connects from one, gets another.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    holder.detach()
    return port
