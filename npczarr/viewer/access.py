"""Who may read from the server: whoever started it, by a token that is good once, and then by a cookie."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Access:
    """The tokens of one server.

    Parameters
    ----------
    port
        Where it listens; it names the cookie, for browsers share cookies between ports.
    on_used
        Called with the next token once one was used: it is for another browser.
    """

    def __init__(self, port: int, on_used: Callable[[str], None] | None = None) -> None:
        self.cookie = f"npczarr-{port}"
        self.token = secrets.token_urlsafe(24)
        self._session = secrets.token_urlsafe(32)
        self._on_used = on_used

    def exchange(self, token: str) -> str | None:
        """Return the value of the cookie for the token, which is good no more after that; None for another text."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        self.token = secrets.token_urlsafe(24)
        if self._on_used is not None:
            self._on_used(self.token)
        return self._session

    def admits(self, cookies: str) -> bool:
        """Whether a Cookie header holds what :meth:`exchange` returned.

        It may hold those of other programs at this machine, too, in whatever form they wrote them.
        """
        pairs = (pair.strip().partition("=") for pair in cookies.split(";"))
        session = self._session.encode()
        return any(name == self.cookie and hmac.compare_digest(value.encode(), session) for name, _, value in pairs)


def is_this_machine(host: str) -> bool:
    """Whether a Host header names this machine, at any port: a tunnel by `ssh -L` may listen at another.

    A page elsewhere whose name was made to lead to this machine has its own name in the header.

    >>> is_this_machine("localhost:9000"), is_this_machine("evil.example:8765")
    (True, False)
    """
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        return host.lower() in _NAMES
    return name.lower() in _NAMES and port.isdigit()
