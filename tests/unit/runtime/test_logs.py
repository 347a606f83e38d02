"""Records for people and for machines."""

from __future__ import annotations

import logging
import sys

import msgspec
import pytest

from runtime.logs import JsonFormatter, SessionLogger, SessionNamed, TextFormatter, without_secrets


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    """A record as a logger makes it."""
    made = logging.LogRecord("gateway.app", logging.INFO, __file__, 1, message, args, None)
    vars(made).update(extra)
    return made


def test_a_line_for_people_ends_with_its_keys() -> None:
    """After the sentence."""
    line = TextFormatter().format(record("%d doors are open", 5, sid="ab12", user="ann"))
    assert line.endswith(" INFO  gateway.app · 5 doors are open · sid=ab12 user=ann")


def test_a_line_without_keys_ends_with_the_sentence() -> None:
    """And with nothing else."""
    assert TextFormatter().format(record("all is well")).endswith(" · all is well")


def test_a_line_for_machines_is_one_object() -> None:
    """Whatever the values are."""
    line = JsonFormatter().format(record("a session\nbegins", sid="ab12", codec=logging))
    fields = msgspec.json.decode(line)
    assert "\n" not in line
    assert fields["message"] == "a session\nbegins"
    assert (fields["level"], fields["logger"], fields["sid"]) == ("INFO", "gateway.app", "ab12")
    assert "logging" in fields["codec"]


def test_an_exception_is_in_the_object() -> None:
    """With its traceback."""
    made = record("it broke")
    try:
        raise ValueError("no")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert "ValueError: no" in msgspec.json.decode(JsonFormatter().format(made))["exception"]


def test_a_session_is_on_each_record_of_its_logger() -> None:
    """Beside what the call adds."""
    logger = SessionLogger(logging.getLogger("test"), "ab12")
    assert logger.process("said", {"extra": {"turn": 3}}) == ("said", {"extra": {"sid": "ab12", "turn": 3}})


SID = "89e0ab0ac030d6efdb1c461337ebdf98"


@pytest.mark.parametrize(
    ("made", "sid"),
    [
        (record("%s: %s", f"parley:{{{SID}}}:down", "no answer"), SID),
        (record("%s failed", f"session {SID}"), SID),
        (record("%s failed", f"session {SID}", sid="ab12"), "ab12"),
        (record("all is well, says %s", f"{SID}{SID}"), None),
    ],
)
def test_a_session_is_on_each_record_that_names_one_of_its_streams(made: logging.LogRecord, sid: str | None) -> None:
    assert SessionNamed().filter(made)
    assert getattr(made, "sid", None) == sid


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
@pytest.mark.parametrize(
    "line",
    [
        "GET /realtime/stream?token=SECRET.x-y_z&conversationId=7 failed",
        'GET "/v1/realtime?model=any&ticket=SECRET"',
        "?after=1&Token%3DSECRET",
        "Client protocols ['openai-insecure-api-key.SECRET', 'x'] don't overlap server-known ones",
        "{'Authorization': 'Bearer SECRET=='}",
        "authorization: bearer SECRET.SECRET",
    ],
)
def test_tokens_are_blacked_out(formatter: logging.Formatter, line: str) -> None:
    """In the sentence, in its arguments, in its keys and in a traceback; the rest stays."""
    made = record("%s", line, url=line)
    try:
        raise ValueError(line)
    except ValueError:
        made.exc_info = sys.exc_info()
    told = formatter.format(made)
    assert "SECRET" not in told
    assert told.count("…") == 3
    assert "ValueError" in told


def test_other_words_stay() -> None:
    """Also those that only resemble."""
    sentence = "a token is missing, the bearer left, tickets=3, broken=yes"
    assert without_secrets(sentence) == sentence
