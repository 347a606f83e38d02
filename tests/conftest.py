"""Fixtures that every kind of test uses: a real server a worker process, empty before each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import hypothesis
import pytest
from redis.asyncio import Redis

from cli.load import packets
from cli.load.servers import clustered_outside
from runtime.embedded import EmbeddedServer
from streams.connection import connect
from tests import order
from tests.acceptance.balancers import balancer
from tests.browser.browsers import HOW, are_required, find_chromium
from tests.contract.sdks import node

# No example is judged by how long it took: a machine that stands still for 200 ms fails nothing.
hypothesis.settings.register_profile("parley", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("parley")

os.environ.setdefault("PARLEY_DRAIN_S", "0")  # services of the tests end at once, but where that is what is tested

BROWSER_TESTS = Path(__file__).parent / "browser"
TUTORIALS = Path(__file__).parent / "tutorials"
DROPPED_PACKETS = Path(__file__).parent / "acceptance" / "test_dropped_packets.py"
NODE_TESTS = ("test_javascript.py", "test_browser.py")


def _lacks_browser() -> bool:
    return find_chromium() is None and not are_required()


def _lacks_node() -> bool:
    return node.is_missing() and not node.is_required()


def _lacks_balancers() -> bool:
    return bool(balancer.missing()) and not balancer.are_required()


def _lacks_packet_filter() -> bool:
    return not packets.can_be_dropped() and not os.environ.get("PARLEY_REQUIRE_PACKET_FILTER")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Tests of the pages are left out where there is no Chromium to run them in, those of JavaScript without Node.js, those
    of load balancers without them, that of dropped packets where nobody may drop any."""
    is_browser_test = collection_path.parent == BROWSER_TESTS and collection_path.name.startswith("test_")
    is_browser_test |= collection_path in (node.HERE / "test_browser.py", TUTORIALS / "test_browser.py")
    is_node_test = collection_path.parent == node.HERE and collection_path.name in NODE_TESTS
    is_node_test |= collection_path == TUTORIALS / "test_react_native.py"
    is_balancer_test = collection_path.parent == balancer.HERE and collection_path.name.startswith("test_")
    if collection_path == DROPPED_PACKETS and _lacks_packet_filter():
        return True
    lacks = (is_browser_test and _lacks_browser()) or (is_node_test and _lacks_node())
    return True if lacks or (is_balancer_test and _lacks_balancers()) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """What `-n auto` means, unless the environment says it."""
    return None if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else order.workers()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest is begun first."""
    items[:] = order.longest_first(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to get it."""
    if _lacks_browser():
        terminalreporter.write_line(
            f"Not run: tests/browser, the pages in a real browser. There is no Chromium: {HOW}.", yellow=True
        )


@pytest.hookimpl(specname="pytest_terminal_summary")
def pytest_tell_of_curl(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to get it."""
    if shutil.which("curl") is None and not node.is_required():
        terminalreporter.write_line(
            "Not run: the documented conversation by curl. There is no curl: apt-get install curl.", yellow=True
        )


@pytest.hookimpl(specname="pytest_terminal_summary")
def pytest_tell_of_node(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to get it."""
    if _lacks_node():
        terminalreporter.write_line(
            "Not run: the official JavaScript SDKs as clients. There is no Node.js with npm: apt-get install nodejs npm.",
            yellow=True,
        )


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    """One real server for all tests of this worker process; with REDIS_KIND=cluster a Cluster of three, on
    which a test that has a server pause, or kill connections, cannot be run."""
    if os.environ.get("REDIS_KIND") == "cluster":
        with clustered_outside() as nodes:
            yield cast(EmbeddedServer, nodes)  # but for its `process`
        return
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
async def redis(redis_server: EmbeddedServer) -> AsyncIterator[Redis]:
    """A client of an empty server."""
    client = connect(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.hookimpl(specname="pytest_terminal_summary")
def pytest_tell_of_strace(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to get it."""
    if shutil.which("strace") is None:
        terminalreporter.write_line(
            "Not run: a decoder child watched from outside. There is no strace: apt-get install strace.", yellow=True
        )


@pytest.hookimpl(specname="pytest_terminal_summary")
def pytest_tell_of_balancers(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to get it."""
    if _lacks_balancers():
        names = balancer.missing()
        terminalreporter.write_line(
            f"Not run: tests/acceptance/balancers, every door behind the load balancers of deploy/. There is no"
            f" {' and no '.join(names)}: apt-get install {' '.join(names)}.",
            yellow=True,
        )


@pytest.hookimpl(specname="pytest_terminal_summary")
def pytest_tell_of_dropped_packets(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to get it."""
    if _lacks_packet_filter():
        terminalreporter.write_line(
            f"Not run: a network that drops packets. There is no iptables, or no right to use it: {packets.HOW}.",
            yellow=True,
        )
