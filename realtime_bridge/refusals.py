"""PURE. What the model's server refuses, an event of ours or an answer: what the client is told, and how it goes on."""

from __future__ import annotations

from realtime_bridge import server_events as hear
from realtime_bridge.again import code_of
from realtime_bridge.answering import Answering
from realtime_bridge.effects import Break, Effect, Finish, Say
from realtime_bridge.tools import Tools
from realtime_bridge.updates import Updates
from realtime_bridge.verdicts import BENIGN_CODES, EXPIRED, FATAL_CODES, SERVER_ERROR
from streams import down


def of_event(error: hear.ErrorDetail, updates: Updates, answering: Answering, tools: Tools, *, ready: bool) -> list[Effect]:
    """An `error` about something that we have asked for. `ready`: the model is configured."""
    code, message = error.code or error.type or "upstream_error", error.message or "The model reported an error."
    refused = updates.refused_by(error.event_id, first=not ready)
    fails = error.type == SERVER_ERROR and not ready  # it refuses nothing; another socket may do
    if code == EXPIRED or (fails and code not in FATAL_CODES):
        return [Break(code, message)]
    if code in FATAL_CODES or (refused is not None and not ready):
        return [Say(down.Failed(code=code, message=message)), Finish(code)]
    if refused is not None:
        updates.remove(refused)
    elif code == "conversation_already_has_active_response":
        ours = tools.refused(error.event_id, busy=True)
        if answering.refused(error.event_id, busy=True) or ours:
            return []
    elif code in BENIGN_CODES:
        return []
    else:
        tools.refused(error.event_id, busy=False)
        answering.refused(error.event_id, busy=False)
    return [Say(down.Failed(code=code, message=message))]


def of_answer(response: hear.Response) -> list[Effect]:
    """A `response.done` that nobody can mend by asking again."""
    code = code_of(response)
    if code not in FATAL_CODES or code is None:
        return []
    what, advice = FATAL_CODES[code]
    return [Say(down.Failed(code=code, message=f"The model refused {what} ({code}): {advice}.")), Finish(code)]
