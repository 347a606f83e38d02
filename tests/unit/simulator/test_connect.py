from __future__ import annotations

import pytest
from multidict import CIMultiDict

from simulator.connect import ConnectionRefused, admit
from simulator.options import Options

STRICT = Options(api_key="sk-right", models=frozenset({"m"}))
RIGHT = {"authorization": "Bearer sk-right"}


@pytest.mark.parametrize(
    ("headers", "query", "close_code", "reason"),
    [
        ({}, {"model": "m"}, 3000, "invalid_request_error"),
        ({"Authorization": "Bearer sk-wrong"}, {"model": "m"}, 3000, "invalid_request_error.invalid_api_key"),
        (RIGHT, {}, 4000, "invalid_request_error.missing_model"),
        (RIGHT, {"model": "n"}, 4000, "invalid_request_error.invalid_model"),
        ({**RIGHT, "openai-beta": "realtime=v1"}, {"model": "m"}, 4000, "invalid_request_error.beta_api_shape_disabled"),
    ],
)
def test_refusals(headers: dict[str, str], query: dict[str, str], close_code: int, reason: str) -> None:
    """who is not let in learns why, in the words of the close."""
    with pytest.raises(ConnectionRefused) as refused:
        admit(STRICT, CIMultiDict(headers), query)
    assert (refused.value.close_code, refused.value.reason) == (close_code, reason)


def test_admitted() -> None:
    """the right key opens, in a header or in a browser's subprotocol."""
    browser = {"Sec-WebSocket-Protocol": "realtime, openai-insecure-api-key.sk-right"}
    assert admit(STRICT, CIMultiDict(RIGHT), {"model": "m"}) == "m"
    assert admit(STRICT, CIMultiDict(browser), {"model": "m"}) == "m"


def test_open_house() -> None:
    """without a key and without models, everybody and every model is welcome."""
    assert admit(Options(), CIMultiDict(), {"model": "whatever"}) == "whatever"
