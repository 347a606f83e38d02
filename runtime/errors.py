"""What can go wrong at start and stop.

ParleyError
├── SettingsError     a value in the environment is wrong            fault: the operator, not recoverable
└── StartError        something needed at start is not there         fault: the machine, not recoverable
    ├── PortBusy
    └── ServerError   the embedded Redis server did not come up
"""

from __future__ import annotations


class ParleyError(Exception):
    """The root of all errors that Parley raises on purpose; its text is a sentence for a person."""


class SettingsError(ParleyError):
    """A setting has a wrong value; the text names the variable and what it should be."""


class StartError(ParleyError):
    """The process cannot start; the text says what to do about it."""


class PortBusy(StartError):
    """Somebody else listens on the port."""

    def __init__(self, host: str, port: int, variable: str = "PORT") -> None:
        self.host, self.port = host, port
        super().__init__(
            f"{host}:{port} is in use by another program. Stop it, or choose another port with {variable}=<number>."
        )


class ServerError(StartError):
    """The Redis server could not be started."""
