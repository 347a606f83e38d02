"""The doctor's checks that need nothing but this process."""

from __future__ import annotations

import asyncio

import pytest

from cli import doctor
from cli.doctor import Finding
from cli.settings import CommandSettings
from transcoder.wire import Ready


def test_an_old_python_is_fatal() -> None:
    """3.11 is the least."""
    assert doctor.python((3, 10, 14)).state == "fatal"
    assert doctor.python((3, 11, 0)).state == "ok"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setattr(doctor, "PACKAGES", ("msgspec", "no_such_package"))
    finding = doctor.packages()
    assert finding.state == "fatal"
    assert "no_such_package" in finding.found
    assert finding.todo


def test_a_missing_codec_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As decoder or encoder."""
    assert doctor.codecs().state == "ok"
    monkeypatch.setattr(doctor, "ENCODERS", ("aac", "no_such_codec"))
    assert "encoder no_such_codec" in doctor.codecs().found


async def test_a_check_that_hangs_is_cut_off() -> None:
    """The doctor never does."""

    async def hangs() -> Finding:
        await asyncio.Event().wait()
        raise AssertionError

    finding = await doctor._limited("model", hangs(), limit_s=0.01)
    assert (finding.name, finding.state) == ("model", "fatal")


async def test_without_a_key_the_simulator_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is fine."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert (await doctor.upstream(CommandSettings.load())).state == "ok"


async def test_an_address_without_a_key_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is for `parley up`."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    finding = await doctor.upstream(CommandSettings.load())
    assert finding.state == "fatal"
    assert "OPENAI_API_KEY" in finding.todo


def test_a_wall_that_does_not_stand_is_a_warning() -> None:
    finding = doctor._walls(Ready("capabilities, seccomp", "landlock (Function not implemented)"))
    assert finding.state == "warning"
    assert "landlock" in finding.found
    assert finding.todo
    assert doctor._walls(Ready("network, capabilities, landlock, seccomp", "")).state == "ok"


@pytest.mark.parametrize(
    ("settings", "state", "found"),
    [
        ({}, "ok", "everybody on this machine"),
        ({"JWT_SECRET": "s" * 32}, "ok", "field clients that carry none"),
        ({"JWT_SECRET": "s" * 32, "PARLEY_AUTH": "required"}, "ok", "who has a token"),
        ({"HOST": "0.0.0.0", "PARLEY_AUTH": "off"}, "warning", "everybody who reaches 0.0.0.0"),
        ({"HOST": "0.0.0.0"}, "fatal", "others can reach"),
        ({"JWT_SECRET": "short"}, "fatal", "JWT_SECRET is not usable"),
        ({"PARLEY_AUTH": "maybe"}, "fatal", "PARLEY_AUTH is not usable"),
    ],
)
def test_it_tells_who_may_come_in(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], state: str, found: str) -> None:
    """And who should not."""
    for name in ("HOST", "JWT_SECRET", "PARLEY_AUTH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    finding = doctor.callers()
    assert finding.state == state
    assert found in finding.found
