"""Child processes that never outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Loaded here and not in the function: between fork and exec there may be nobody left to release the loader's lock.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def die_with_parent(sig: signal.Signals = signal.SIGTERM, parent: int | None = None) -> None:
    """Ask the kernel to send `sig` to this process when its parent dies, also by SIGKILL.

    Call it first thing in the child (or as `preexec_fn`). "Parent" is the thread that forked: start children from a
    thread that lives as long as they should. `parent` is its process id where the caller knows it; then a death
    between fork and this call is seen for certain. Linux only; elsewhere it does nothing, and a parent that is killed
    hard leaves its children to be stopped by hand.
    """
    if _LIBC is None:
        return
    if _LIBC.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl(PR_SET_PDEATHSIG): {os.strerror(errno)}")
    # From here on the kernel watches; what follows is for a parent that died before.
    if parent is not None and os.getppid() != parent:
        os._exit(128 + sig)  # not by a signal, whose handler may still be the parent's
    if os.getppid() == 1 and os.environ.get("PARLEY_PARENT_PID") not in (None, "1"):
        os.kill(os.getpid(), sig)
