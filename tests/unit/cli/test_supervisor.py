"""What the supervisor makes of what a child leaves behind."""

from __future__ import annotations

import pytest

from cli.restarts import RestartPolicy
from cli.supervisor import Child, ChildSpec, _how_it_ended


def child(*errors: str, out: tuple[str, ...] = ()) -> Child:
    """A child that has written these lines."""
    made = Child(ChildSpec("gateway", ["true"]), RestartPolicy())
    made.errors.extend(errors)
    made.lines.extend([*out, *errors])
    return made


def test_the_last_words_are_the_service_s_own_sentence() -> None:
    """Log records before it, whose first word is a time, are not."""
    told = child("12:00:00.000 INFO  gateway.app · begins", "gateway: 127.0.0.1:8000 is in use.")
    assert told.last_words == "127.0.0.1:8000 is in use."


def test_a_sentence_of_several_lines_stays_whole() -> None:
    """Each wrong setting has a line."""
    assert (
        child("gateway: PORT is not usable.", "HOST is not usable.").last_words == "PORT is not usable. HOST is not usable."
    )


def test_without_a_sentence_the_last_error_counts() -> None:
    """As after a traceback."""
    told = child("Traceback (most recent call last):", "ValueError: no", "", out=("all is well",))
    assert told.last_words == "ValueError: no"


def test_a_child_that_wrote_to_standard_output_only_is_quoted() -> None:
    """As redis-server does."""
    assert child(out=("# Warning: Could not create server TCP listening socket", "")).last_words.startswith("# Warning")


def test_a_silent_child_has_no_last_words() -> None:
    """And nothing is made up."""
    assert child().last_words == ""


def test_only_the_last_twenty_lines_are_kept() -> None:
    """A child that talks for a year costs the same."""
    assert list(child(*(str(n) for n in range(100))).lines) == [str(n) for n in range(80, 100)]


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with code 0"), (1, "ended with code 1"), (-9, "was ended by SIGKILL"), (-99, "was ended by signal 99")],
)
def test_an_exit_code_is_told_in_words(code: int, words: str) -> None:
    """Negative ones are signals."""
    assert _how_it_ended(code) == words
