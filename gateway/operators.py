"""PURE. Who may operate, who may listen, and for how long an address that tries keys is not heard. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict

from gateway.api_keys import ApiKeys
from gateway.errors import AdminOff, NoAdminKey, NoListenKey, TooManyTries

TRIES = 5
"""Wrong keys from one address, within TRY_WINDOW_S."""

TRY_WINDOW_S = 60.0

MAX_ADDRESSES = 10_000
"""Remembered; the one that has been quiet for longest is forgotten first."""


class Failures:
    """Of each address, when it showed a wrong key. While it has used up its tries the right one is refused, too."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """How long it is not heard; 0: it is."""
        recent = [at for at in self._failed.get(address, ()) if now - at < TRY_WINDOW_S]
        return 0.0 if len(recent) < TRIES else recent[-TRIES] + TRY_WINDOW_S - now

    def failed(self, address: str, now: float) -> None:
        """Once more."""
        recent = [at for at in self._failed.pop(address, ()) if now - at < TRY_WINDOW_S]
        self._failed[address] = [*recent, now]
        while len(self._failed) > MAX_ADDRESSES:
            self._failed.popitem(last=False)


class Operators:
    """The two rights: to operate, and to listen. Neither includes the other, but whoever listens may look."""

    def __init__(self, admin_keys: str, listen_keys: str) -> None:
        """As they stand in the settings. Raises ValueError."""
        self._admin, self._listen = ApiKeys(admin_keys), ApiKeys(listen_keys)
        self._failures = Failures()

    def __bool__(self) -> bool:
        """Whether there is anything for operators here."""
        return bool(self._admin)

    def check(self, shown: str | None, address: str, now: float, *, acts: bool = False, listens: bool = False) -> None:
        """Let them in, or raise AdminOff, TooManyTries, NoAdminKey, NoListenKey.

        `acts`: they change something; `listens`: they hear or read what is said.
        """
        if not self:
            raise AdminOff
        if (wait_s := self._failures.wait_s(address, now)) > 0:
            raise TooManyTries(wait_s)
        if shown is None:
            raise NoAdminKey
        operates, hears = self._admin.have(shown), self._listen.have(shown)
        if not (operates or hears):
            self._failures.failed(address, now)
            raise NoAdminKey
        if listens and not hears:
            raise NoListenKey
        if acts and not operates:
            raise NoAdminKey("A key that is for listening changes nothing: send one of PARLEY_ADMIN_KEYS.")
