"""What `parley load` refuses, before anything is started."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.errors import LoadError


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "either --fleet or --url"),
        (("--fleet", "--url", "http://127.0.0.1:1"), "either --fleet or --url"),
        (("--fleet", "--fault", "cut"), "--verify"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(arguments: tuple[str, ...], sentence: str) -> None:
    result = CliRunner().invoke(app, ["load", *arguments])
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_client_that_is_none_is_named() -> None:
    result = CliRunner().invoke(app, ["load", "--url", "http://127.0.0.1:1", "--client", "nobody"])
    assert isinstance(result.exception, LoadError)
    assert "There is no client 'nobody'; there are openai" in str(result.exception)


def test_faults_that_need_another_redis_each_are_named() -> None:
    several = ("--fault", "redis failover", "--fault", "redis reshard", "--fault", "cut")
    result = CliRunner().invoke(app, ["load", "--verify", "--fleet", *several])
    assert isinstance(result.exception, LoadError)
    assert str(result.exception).endswith("so they make several runs: redis failover, redis reshard.")
