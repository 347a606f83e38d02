"""What the processes of a deployment say of themselves: each at its `/metrics`, Redis by INFO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.connection import connect

LIMIT_S = 2.0
_OURS = "parley_"


class Scraped:
    """Processes somewhere. Of others than these nothing is known; a transcoder says nothing of its children."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        gateways: Sequence[str],
        others: Sequence[str] = (),
        *,
        token: str | None = None,
        redis_url: str | None = None,
    ) -> None:
        """`others`: further addresses of metrics, with their path or without; `token`: PARLEY_METRICS_TOKEN."""
        # A gateway that has a port for its metrics answers 404 at its own: then it is among the others.
        self._addresses = {f"{url}/metrics": "gateway" for url in gateways}
        self._addresses |= {url if url.endswith("/metrics") else f"{url.rstrip('/')}/metrics": "" for url in others}
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._redis: Redis | None = None if redis_url is None else connect(redis_url, max_connections=1)
        self._last: dict[str, tuple[str, float, float]] = {}
        """of each address: the service, its CPU and its memory, when it answered last"""

    async def look(self) -> tuple[dict[str, float], dict[str, float]]:
        """CPU in milliseconds since they began, and resident memory in megabytes, by service.

        Who does not answer counts as before: it has not begun again.
        """
        for address, service in self._addresses.items():
            if (text := await self._asked(address)) is not None and (found := figures(text)):
                cpu_ms, memory_mb = found.get(_CPU, 0.0) * 1000, found.get(_MEMORY, 0.0) / (1 << 20)
                self._last[address] = service or service_of(found), cpu_ms, memory_mb
        if self._redis is not None and (answer := await self._info(self._redis)) is not None:
            spent = float(answer["used_cpu_user"]) + float(answer["used_cpu_sys"])
            self._last["redis"] = "redis", spent * 1000, float(answer["used_memory_rss"]) / (1 << 20)
        cpu: dict[str, float] = {}
        memory: dict[str, float] = {}
        for service, spent_ms, held_mb in self._last.values():
            cpu[service] = cpu.get(service, 0.0) + spent_ms
            memory[service] = memory.get(service, 0.0) + held_mb
        return cpu, memory

    async def aclose(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()

    async def _asked(self, address: str) -> str | None:
        timeout = aiohttp.ClientTimeout(total=LIMIT_S)
        try:
            async with self._http.get(address, headers=self._headers, timeout=timeout) as response:
                return await response.text() if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    @staticmethod
    async def _info(redis: Redis) -> Mapping[str, Any] | None:
        try:
            return {**await redis.info("cpu"), **await redis.info("memory")}
        except (RedisError, OSError):
            return None


_CPU, _MEMORY = "process_cpu_seconds_total", "process_resident_memory_bytes"


def figures(text: str) -> dict[str, float]:
    """Of Prometheus's text format: the last of each name; none when it is something else."""
    try:
        return {sample.name: sample.value for each in text_string_to_metric_families(text) for sample in each.samples}
    except ValueError:
        return {}


def service_of(found: Mapping[str, float]) -> str:
    """Whose these are: its own metrics have its name in theirs."""
    ours = (name.removeprefix(_OURS).partition("_")[0] for name in found if name.startswith(_OURS))
    return next(ours, "others")
