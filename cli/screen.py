"""What `parley up` shows: its own lines, those of its children with their names before them, and what it waits for."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text

from cli.supervisor import ChildSpec

_NAME_WIDTH = len("transcoder") + 2


class Screen:
    """Standard output, in colour where that is a terminal, and never cut to its width."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def line(self, spec: ChildSpec, line: str) -> None:
        """A line of a child, in the child's own colours if it has any."""
        self._prefixed(spec.name, spec.colour, Text.from_ansi(line) if "\x1b" in line else Text(line))

    def say(self, sentence: str) -> None:
        """A line of ours."""
        self._prefixed("parley", "bold blue", Text(sentence))

    def _prefixed(self, name: str, style: str, text: Text) -> None:
        prefix = Text.assemble((f"{name:<{_NAME_WIDTH}}", style), ("│ ", "dim"))
        self._console.print(prefix + text, soft_wrap=True)

    def loud(self, sentence: str) -> None:
        """A line that nobody should miss."""
        self._console.print(Text(f" {sentence} ", style="bold black on yellow"), soft_wrap=True)

    def print(self, thing: RenderableType) -> None:
        """Anything that rich can draw."""
        self._console.print(thing)

    def status(self, words: str) -> Status:
        """A spinner while a person waits; nothing where nobody looks."""
        return self._console.status(words)
