"""Tell whoever started this process that it is ready: the `sd_notify` protocol, as systemd and our supervisor speak it."""

from __future__ import annotations

import logging
import os
import socket

logger = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Send one state line (`READY=1`, `STOPPING=1`) to `$NOTIFY_SOCKET`; without that variable, do nothing.

    Nobody may listen there any more: that ends no process, and keeps none from ending well.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(f"{state}\nMAINPID={os.getpid()}".encode(), address)
        except OSError as error:
            logger.warning("%s could not be told to %s: %s", state, os.environ["NOTIFY_SOCKET"], error)


def ready() -> None:
    """This process has opened what it serves on and takes work."""
    notify("READY=1")


def stopping() -> None:
    """This process takes no more work and is about to end."""
    notify("STOPPING=1")
