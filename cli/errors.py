"""What can go wrong at the command line; all of it ends the command with its sentence and exit code 1.

ParleyError (runtime.errors)
├── TalkError             no conversation took place                    fault: the caller or the gateway
├── LoadError             a run that cannot be made                     fault: the caller
├── OperateError          nothing is seen, done or heard            fault: the caller, their keys, or the gateway
│   ├── LineBroke         there is no gateway, or not any more      fault: the gateway, or the way there
│   └── Refused           it answers, and lets nobody               fault: the caller, their keys, or the gateway
├── ReplayError           a recording that cannot be sent again         fault: the caller or the gateway
├── TokenError            no token could be minted                      fault: the settings
└── StartError
    ├── ChildEnded        a process of `parley up` ended                fault: the child; its own sentence is in the text
    └── SelfCheckFailed   everything started, but nobody can talk to it  fault: the settings, or the model behind
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import ParleyError, StartError


class TalkError(ParleyError):
    """There is nothing to send, or nobody to send it to."""


class LoadError(ParleyError):
    """What was asked for cannot be run."""


class OperateError(ParleyError):
    """The gateway is not there, or does not let the operator; its own sentence is in the text."""


class LineBroke(OperateError):
    """The gateway does not answer, or has stopped to in the middle."""


class Refused(OperateError):
    """The gateway's own words."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class ReplayError(ParleyError):
    """There is no recording of a call, or nobody to send it to."""


class TokenError(ParleyError):
    """There is nothing to sign a token with."""


class ChildEnded(StartError):
    """A child process ended, at start or too often."""

    def __init__(self, name: str, what: str, words: str) -> None:
        self.name, self.what, self.words = name, what, words
        super().__init__(f"{name} {what}: {words}" if words else f"{name} {what}.")


class SelfCheckFailed(StartError):
    """The gateway, asked as a client would ask it, did not answer with speech."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = tuple(sentences)
        todo = "Why is in the lines above; `parley doctor` with the same settings says what to do."
        super().__init__(" ".join(["The self-check failed:", *sentences, todo]))
