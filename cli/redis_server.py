"""What a Redis server says about itself, and whether that is enough for us."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from runtime.embedded import MINIMUM_VERSION
from runtime.errors import StartError
from streams.connection import by_node, connect
from streams.errors import ServerUnfit

LIMIT_S = 3.0


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """From INFO."""

    name: str
    version: str
    policy: str
    """`maxmemory-policy`; empty: it does not tell."""

    @property
    def new_enough(self) -> bool:
        """7.0 or newer. Valkey keeps a Redis version for old clients, so its own is what is compared."""
        return tuple(int(part) for part in self.version.split(".")[:2] if part.isdigit()) >= MINIMUM_VERSION

    @property
    def keeps_what_it_took(self) -> bool:
        """Whether a full server refuses writes instead of dropping keys."""
        return self.policy in ("noeviction", "")


async def ask(url: str, limit_s: float = LIMIT_S) -> ServerFacts:
    """Ask the server at `url`. Raises StartError, with a sentence that carries no password, when it does not answer."""
    shown = without_password(url)
    try:
        async with asyncio.timeout(limit_s), connect(url) as client:
            nodes = by_node(await client.info())
    except ServerUnfit as error:
        raise StartError(str(error)) from None
    except (RedisError, OSError, TimeoutError) as error:
        raise StartError(
            f"No Redis server answers at {shown} (REDIS_URL): {str(error).rstrip('.') or 'no answer in time'}."
            " Start it, correct REDIS_URL, or unset it to let `parley up` start one of its own."
        ) from None
    first = next(iter(nodes.values()))
    others = (node for node in nodes.values() if node.get("maxmemory_policy", "noeviction") != "noeviction")
    info = next(others, first)
    valkey = "valkey_version" in info
    return ServerFacts(
        name="Valkey" if valkey else "Redis",
        version=str(info["valkey_version" if valkey else "redis_version"]),
        policy=str(info.get("maxmemory_policy", "")),
    )


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]).geturl()


def policy_advice(policy: str) -> str:
    """What to do about a server that drops keys."""
    return (
        f"maxmemory-policy is {policy}: a full server would drop live sessions without a word."
        " Run `redis-cli CONFIG SET maxmemory-policy noeviction` (a managed service: in its settings)."
    )


UNTOLD_POLICY = (
    "This server does not tell its maxmemory-policy: look in its provider's settings that it is noeviction,"
    " else it may throw away live sessions."
)


def version_advice(facts: ServerFacts) -> str:
    """What to do about a server that is too old."""
    return f"{facts.name} {facts.version} is too old: 7.0 or newer is needed."
