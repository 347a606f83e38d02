"""How a client of the openai door is told things: as it came over a WebSocket, named and on one line over a stream."""

from __future__ import annotations

import msgspec

from gateway.doors.openai_downlink import Frames
from gateway.outbox import Frame
from streams.ids import EntryId

DID = EntryId(5, 7)
BODY = b'{\r\n  "type": "response.done",\n  "response": {"text": "a\\nb"}\n}'


def test_over_a_websocket_an_event_is_as_it_came() -> None:
    assert Frames("abc", dids=False).said(DID, "event", BODY, event="response.done") == Frame(
        "event", BODY, entry=DID, event="response.done"
    )


def test_over_a_stream_it_has_one_line_a_name_and_an_id() -> None:
    frame = Frames("abc", dids=True, streamed=True).said(DID, "event", BODY, event="response.done")
    assert (frame.event, frame.entry, frame.prefix) == ("response.done", DID, "abc/")
    assert b"\n" not in frame.data
    assert b"\r" not in frame.data
    assert msgspec.json.decode(frame.data) == {"did": "5-7", **msgspec.json.decode(BODY)}


def test_what_the_door_says_itself_has_no_place() -> None:
    frame = Frames("abc", dids=True, streamed=True).reply("parley.resumed", b"{}")
    assert (frame.kind, frame.event, frame.entry) == ("parley.resumed", "parley.resumed", None)
