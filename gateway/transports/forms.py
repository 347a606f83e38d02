"""One recording in a request: its body as it is, or a file in a form."""

from __future__ import annotations

import asyncio

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.multipart import MultipartReader

from gateway.errors import BodyTooLarge, BrokenBody, CodedBody, InvalidRequest, StalledBody
from gateway.transports.chunked import whole

IDLE_S = 20.0
"""How long nothing of a body may come."""

FORM_WITHIN_S = 120.0
"""A whole form, however steadily it comes."""

FORM_ROOM_BYTES = 64 << 10
"""For what else is in a form."""

NAMES = ("audio", "file")
"""Under which the recording stands in a form; else it is the first that has a file name."""


async def recording_of(request: web.Request, *, max_bytes: int) -> bytes:
    """All of it. Raises BodyTooLarge, StalledBody, CodedBody, BrokenBody, InvalidRequest."""
    if not request.content_type.startswith("multipart/"):
        return await whole(request, max_bytes=max_bytes, idle_s=IDLE_S)
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise CodedBody
    if request.content_length is not None and request.content_length > max_bytes + FORM_ROOM_BYTES:
        raise BodyTooLarge(max_bytes)
    try:
        async with asyncio.timeout(FORM_WITHIN_S):
            found = await _in_form(await request.multipart(), max_bytes)
    except TimeoutError:
        raise StalledBody from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise BrokenBody from error
    except (ValueError, AssertionError, HttpProcessingError) as error:  # what aiohttp says of a form that is none
        raise InvalidRequest(
            "The form cannot be read. Send multipart/form-data with one file, or the recording alone."
        ) from error
    if found is None:
        raise InvalidRequest(f"There is no recording in the form: send it as a file named {' or '.join(NAMES)}.")
    return found


async def _in_form(form: MultipartReader, max_bytes: int) -> bytes | None:
    found: bytes | None = None
    left = max_bytes + FORM_ROOM_BYTES
    while (part := await form.next()) is not None:
        if not isinstance(part, BodyPartReader):
            raise InvalidRequest("There is a form within the form. Send the recording as one file.")
        is_it = found is None and (part.name in NAMES or part.filename is not None)
        data = bytearray()
        while chunk := await _next(part):
            left -= len(chunk)
            if left < 0 or (is_it and len(data) + len(chunk) > max_bytes):
                raise BodyTooLarge(max_bytes)
            if is_it:
                data += chunk
        if is_it:
            found = bytes(data)
    return found


async def _next(part: BodyPartReader) -> bytes:
    async with asyncio.timeout(IDLE_S):
        return await part.read_chunk()
