"""`python -m transcoder`: settings → run; nothing else."""

from __future__ import annotations

from runtime.service import run_service
from transcoder.service import serve
from transcoder.settings import TranscoderSettings

if __name__ == "__main__":
    run_service("transcoder", TranscoderSettings, serve)
