"""`parley up` from outside: what it shows, what it stops, what it leaves."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from runtime.embedded import EmbeddedServer
from runtime.ports import HeldPorts
from tests.integration.cli.conftest import Up
from tests.integration.cli.running import eventually


def written(log: Path) -> str:
    """What the stand-ins have written."""
    return log.read_text()


async def test_it_starts_speaks_to_itself_and_stops_on_ctrl_c(up: Up, tmp_path: Path) -> None:
    """One command, everything up; one Ctrl-C, everything gone, exit code 0."""
    async with up() as parley:
        assert re.match(r"http://127\.0\.0\.1:\d+", await parley.listens())
        assert "No model is behind this" in parley.output
        assert "[I heard you]" in parley.output
        assert "4.8 s, aac 44.1 kHz mono" in parley.output
        assert (tmp_path / "work" / ".parley" / "answer.wav").stat().st_size == 44 + 12_000
        commands = " ".join(parley.descendants().values())
        for program in ("-m gateway", "-m transcoder", "-m realtime_bridge", "-m simulator --host 127.0.0.1", "-server"):
            assert program in commands
        parley.signal(signal.SIGINT)
        assert await parley.ends() == 0
        assert parley.leaves_nothing()


async def test_lines_of_children_are_shown_with_their_names(up: Up) -> None:
    """As docker compose does."""
    async with up("--no-check") as parley:
        await parley.says(r"^transcoder +│ transcoder is here$")
        await parley.says(r"^bridge +│ realtime_bridge is here$")


async def test_doors_close_first_and_the_simulator_last(up: Up, fake_log: Path) -> None:
    """So that nobody loses what he still needs."""
    async with up("--no-check", "--transcoders", "2") as parley:
        await parley.listens()
        parley.signal(signal.SIGTERM)
        assert await parley.ends() == 0
    stops = [line.split()[0] for line in written(fake_log).splitlines() if line.endswith("stops")]
    assert stops[0] == "gateway"
    assert sorted(stops[1:4]) == ["realtime_bridge", "transcoder", "transcoder"]
    assert stops[4] == "simulator"


async def test_a_busy_port_is_one_sentence(up: Up) -> None:
    """The gateway's own, and nothing stays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with up(PORT=str(port)) as parley:
            assert await parley.ends() == 1
            assert parley.lines[-1] == f"parley: gateway did not start: 127.0.0.1:{port} is in use."
            assert parley.leaves_nothing()


async def test_a_child_that_refuses_to_start_ends_it(up: Up) -> None:
    """With its sentence."""
    async with up(FAKE_REALTIME_BRIDGE="refuses") as parley:
        assert await parley.ends() == 1
        assert parley.lines[-1] == "parley: bridge did not start: it does not want to."
        assert parley.leaves_nothing()


async def test_ctrl_c_during_the_start_stops_what_is_there(up: Up) -> None:
    """One child never gets ready."""
    async with up(FAKE_TRANSCODER="mute") as parley:
        await parley.says("transcoder is here")
        parley.signal(signal.SIGINT)
        assert await parley.ends() == 0
        assert parley.leaves_nothing()


async def test_a_failed_self_check_is_the_gateways_sentence(up: Up) -> None:
    """As with a wrong key."""
    async with up(FAKE_GATEWAY="error") as parley:
        assert await parley.ends() == 1
        assert parley.lines[-1] == (
            "parley: The self-check failed: The model refuses the key."
            " Why is in the lines above; `parley doctor` with the same settings says what to do."
        )
        assert parley.leaves_nothing()


async def test_a_child_that_dies_is_started_again(up: Up, fake_log: Path) -> None:
    """And that is said, in one line for the death and one for the return."""
    async with up("--no-check") as parley:
        await parley.listens()
        first = int(re.findall(r"transcoder starts (\d+)", written(fake_log))[0])
        os.kill(first, signal.SIGKILL)
        await parley.says(r"parley .*transcoder was ended by SIGKILL and is started again\.")
        await parley.says(r"parley .*transcoder is back\.")
        assert len(re.findall(r"transcoder starts", written(fake_log))) == 2


async def test_the_fourth_death_in_a_minute_ends_everything(up: Up, fake_log: Path) -> None:
    """Three restarts did not help."""
    async with up("--no-check") as parley:
        await parley.listens()
        for deaths in range(4):
            if deaths:
                await parley.says(r"bridge is back\.", times=deaths)
            os.kill(int(re.findall(r"realtime_bridge starts (\d+)", written(fake_log))[deaths]), signal.SIGKILL)
        assert await parley.ends() == 1
        assert parley.lines[-1].startswith("parley: bridge ended 4 times within 60 s: ")
        assert parley.leaves_nothing()


async def test_killed_hard_it_leaves_nothing_running(up: Up) -> None:
    """The kernel tells the children, the server among them."""
    async with up("--no-check") as parley:
        await parley.listens()
        assert len(parley.descendants()) == 5
        parley.signal(signal.SIGKILL)
        await parley.ends()
        await eventually(lambda: not parley.descendants())


async def test_a_second_ctrl_c_does_not_wait(up: Up) -> None:
    """For a child that does not listen to SIGTERM."""
    async with up("--no-check", FAKE_GATEWAY="stubborn") as parley:
        await parley.listens()
        parley.signal(signal.SIGINT)
        await parley.says("Stopping")
        parley.signal(signal.SIGINT)
        assert await parley.ends() == 0
        assert parley.leaves_nothing()


async def test_what_a_child_leaves_behind_is_ended_too(up: Up, fake_log: Path) -> None:
    """Its own children are of its session."""
    async with up("--no-check", FAKE_TRANSCODER="grandchild") as parley:
        await parley.listens()
        assert any("sleep" in command for command in parley.descendants().values())
        parley.signal(signal.SIGTERM)
        assert await parley.ends() == 0
        assert parley.leaves_nothing()


async def test_an_address_without_a_key_is_refused(up: Up) -> None:
    """Before anything starts."""
    async with up(OPENAI_BASE_URL="http://127.0.0.1:1/v1") as parley:
        assert await parley.ends() == 1
        assert len(parley.lines) == 1
        assert "Set it as well; any value will do" in parley.output


async def test_a_redis_server_that_does_not_answer_is_one_sentence(up: Up) -> None:
    """It names the address."""
    with HeldPorts() as ports:
        address = f"127.0.0.1:{ports.take()}"
        async with up(REDIS_URL=f"redis://{address}/0", OPENAI_API_KEY="k") as parley:
            assert await parley.ends() == 1
        assert parley.lines[-1].startswith(f"parley: No Redis server answers at redis://{address}/0 (REDIS_URL): ")


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
async def test_a_redis_server_of_ours_is_used_and_one_that_drops_keys_is_told_about(up: Up, policy: str) -> None:
    """And it is still there afterwards."""
    with EmbeddedServer("--maxmemory-policy", policy) as server:
        async with up("--no-check", REDIS_URL=server.url) as parley:
            await parley.listens()
            assert ("maxmemory-policy is allkeys-lru" in parley.output) is (policy != "noeviction")
            parley.signal(signal.SIGTERM)
            assert await parley.ends() == 0
        assert server.process.poll() is None


async def test_a_file_for_the_check_that_is_not_there_is_a_sentence(up: Up) -> None:
    """Before anything starts."""
    async with up("--check-file", "/nowhere/words.m4a") as parley:
        assert await parley.ends() == 1
        assert parley.lines == ["parley: /nowhere/words.m4a cannot be read: No such file or directory."]
