"""The stack of `docker-compose.yml` as a project of its own: started, scaled, hurt, looked into, and removed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from runtime.embedded import free_port
from streams import keys

ROOT = Path(__file__).parents[2]
OURS = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "JWT_SECRET", "LOG_LEVEL", "PORT"}


class Stack:
    """As somebody has it who has set nothing: neither this shell's settings nor a `.env` count."""

    def __init__(self, *files: str) -> None:
        """`files` go on top of docker-compose.yml."""
        self._files = [word for file in ("docker-compose.yml", *files) for word in ("--file", file)]
        self.project = f"parley-check-{os.getpid()}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        """of the load balancer"""
        self._environment = {
            name: value for name, value in os.environ.items() if name not in OURS and not name.startswith("PARLEY_")
        } | {"PORT": str(self.port), "PARLEY_VERSION": "check"}

    def compose(self, *arguments: str) -> str:
        """What `docker compose` writes. An AssertionError with its last words when it fails."""
        ours = ("--env-file", os.devnull, "--project-name", self.project, *self._files)
        return self._run("docker", "compose", *ours, *arguments)

    def docker(self, *arguments: str) -> str:
        return self._run("docker", *arguments)

    def _run(self, *command: str) -> str:
        ran = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{' '.join(command)}: {(ran.stdout + ran.stderr)[-4000:]}"
        return ran.stdout

    def up(self, gateways: int = 1, workers: int = 1) -> None:
        """All of it, healthy. `workers`: of each kind.

        When all gateways are replaced at once and are slow to start, the load balancer says in the meantime that it has
        none, and compose waits no longer.
        """
        scale = {"gateway": gateways, "transcoder": workers, "bridge": workers}
        command = ("up", "--wait", *(word for each in scale.items() for word in ("--scale", "{}={}".format(*each))))
        try:
            self.compose(*command)
        except AssertionError as error:
            if not re.search(r"-lb-\d+ is unhealthy", str(error)):
                raise
            self._until_served()
            while "unhealthy" in self.compose("ps", "lb"):
                time.sleep(0.5)
            self.compose(*command)
        self._until_served()

    def _until_served(self) -> None:
        """Its health was asked up to ten seconds ago."""
        limit = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=10):
                    return
            except OSError:
                assert time.monotonic() < limit, self.compose("ps")
                time.sleep(0.2)

    @contextmanager
    def told(self, gateways: int = 2, workers: int = 1, **settings: str) -> Iterator[None]:
        """These settings, for as long as the context lasts."""
        self._environment |= settings
        try:
            self.up(gateways, workers)
            yield
        finally:
            for name in settings:
                del self._environment[name]
            self.up(1)

    def containers(self) -> list[dict[str, Any]]:
        """What `docker compose ps` tells of each that runs."""
        return [json.loads(line) for line in self.compose("ps", "--format", "json").splitlines()]

    def of(self, service: str) -> list[str]:
        """The ids of a service's containers that run; the first twelve digits are the container's host name."""
        return self.compose("ps", "--quiet", "--no-trunc", service).split()

    def healthcheck(self, service: str) -> str:
        """What this service's own check says now: nothing when all is well."""
        config = json.loads(self.compose("config", "--format", "json"))
        _, *check = config["services"][service]["healthcheck"]["test"]
        ran = subprocess.run(
            ["docker", "exec", self.of(service)[0], *check], capture_output=True, text=True, timeout=20, check=False
        )
        return "" if ran.returncode == 0 else ran.stderr.strip() or f"exit code {ran.returncode}"

    def redis(self, *command: str) -> str:
        """What `redis-cli` answers."""
        return self.compose("exec", "-T", "redis", "redis-cli", "--raw", *command).strip()

    def sid_of(self, user: str, conversation: str) -> str:
        """Which session this is."""
        return self.redis("GET", keys.at(user, conversation))

    def gateway_of(self, sid: str) -> str:
        """The container that has the session's client."""
        name = self.redis("GET", keys.SessionKeys(sid).attach).rpartition("|")[2].partition(":")[0]
        (container,) = [container for container in self.of("gateway") if container.startswith(name)]
        return container

    def used(self, door: str) -> dict[str, float]:
        """How much each gateway has had to do with a door's clients: those that are there now, and what was said by them."""
        return {gateway: sum(self._samples(gateway, door)) for gateway in self.of("gateway")}

    def _samples(self, gateway: str, door: str) -> Iterator[float]:
        fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/metrics').read().decode())"
        for family in text_string_to_metric_families(self.docker("exec", gateway, "python", "-c", fetch)):
            for sample in family.samples:
                is_one = sample.name in ("parley_gateway_connections", "parley_gateway_messages_total")
                if is_one and sample.labels["door"] == door and sample.labels.get("direction") != "sent":
                    yield sample.value

    def digest(self, service: str, path: str) -> str:
        """The SHA-256 of a file, as each of the service's containers sees it. An AssertionError when they do not agree."""
        (digest,) = {self.docker("exec", each, "sha256sum", path).split()[0] for each in self.of(service)}
        return digest

    def down(self) -> None:
        """Nothing of it is left but the image."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20")

    def leftovers(self) -> list[str]:
        """Containers, networks and volumes of this project."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (["ps", "--all"], ["network", "ls"], ["volume", "ls"])
        return [line for kind in kinds for line in self.docker(*kind, "--quiet", "--filter", label).split()]
