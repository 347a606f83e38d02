"""PURE. What a `session.update` may say, key by key, as the OpenAI Realtime reference lists it."""

from __future__ import annotations

from simulator.schema import Anything, Either, Flag, ListOf, MapOf, Nullable, Number, Record, Shape, Tagged, Text, Whole

VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")

FORMAT: Shape = Tagged(
    "type",
    {
        "audio/pcm": Record({"type": Text(), "rate": Whole(24_000, 24_000)}),
        "audio/pcmu": Record({"type": Text()}),
        "audio/pcma": Record({"type": Text()}),
    },
)
VOICE: Shape = Either(Text(VOICES), Record({"id": Text()}, ("id",)))
MODALITIES: Shape = ListOf(Text(("text", "audio")), min_length=1)
MAX_OUTPUT_TOKENS: Shape = Either(Text(("inf",)), Whole(1, 4096))
REASONING: Shape = Record({"effort": Nullable(Text(_EFFORTS))})
PROMPT: Shape = Nullable(
    Record({"id": Text(), "version": Nullable(Text()), "variables": Nullable(MapOf(Anything(), 64, 64))}, ("id",))
)
TOOL_CHOICE: Shape = Either(
    Text(("none", "auto", "required")),
    Tagged(
        "type",
        {
            "function": Record({"type": Text(), "name": Text()}, ("name",)),
            "mcp": Record({"type": Text(), "server_label": Text(), "name": Nullable(Text())}, ("server_label",)),
        },
    ),
)
TOOLS: Shape = ListOf(
    Tagged(
        "type",
        {
            "function": Record({"type": Text(), "name": Text(), "description": Text(), "parameters": Anything()}, ("name",)),
            "mcp": Record(
                {
                    "type": Text(),
                    "server_label": Text(),
                    **dict.fromkeys(
                        (
                            "server_url",
                            "connector_id",
                            "tunnel_id",
                            "authorization",
                            "headers",
                            "allowed_tools",
                            "require_approval",
                            "server_description",
                            "defer_loading",
                            "allowed_callers",
                        ),
                        Anything(),
                    ),
                },
                ("server_label",),
            ),
        },
    )
)
_TURN_DETECTION: Shape = Tagged(
    "type",
    {
        "server_vad": Record(
            {
                "type": Text(),
                "threshold": Number(0.0, 1.0),
                "prefix_padding_ms": Whole(0),
                "silence_duration_ms": Whole(0),
                "idle_timeout_ms": Nullable(Whole(1)),
                "create_response": Flag(),
                "interrupt_response": Flag(),
            }
        ),
        "semantic_vad": Record(
            {
                "type": Text(),
                "eagerness": Text(("low", "medium", "high", "auto")),
                "create_response": Flag(),
                "interrupt_response": Flag(),
            }
        ),
    },
)
_TRANSCRIPTION: Shape = Record(
    {
        "model": Text(),
        "language": Nullable(Text()),
        "prompt": Nullable(Text()),
        "languages": ListOf(Text()),
        "keywords": ListOf(Text()),
        "delay": Text(_EFFORTS),
    }
)
_TRUNCATION: Shape = Either(
    Text(("auto", "disabled")),
    Record(
        {
            "type": Text(("retention_ratio",)),
            "retention_ratio": Number(0.0, 1.0),
            "token_limits": Record({"post_instructions": Whole(0)}),
        },
        ("type", "retention_ratio"),
    ),
)
SESSION: Shape = Record(
    {
        "type": Text(("realtime",)),
        "model": Text(),
        "output_modalities": MODALITIES,
        "instructions": Text(),
        "audio": Record(
            {
                "input": Record(
                    {
                        "format": FORMAT,
                        "noise_reduction": Nullable(
                            Record({"type": Text(("near_field", "far_field")), "strength": Number(0.0)}, ("type",))
                        ),
                        "transcription": Nullable(_TRANSCRIPTION),
                        "turn_detection": Nullable(_TURN_DETECTION),
                    }
                ),
                "output": Record({"format": FORMAT, "voice": VOICE, "speed": Number(0.25, 1.5)}),
            }
        ),
        "tools": TOOLS,
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": Flag(),
        "reasoning": REASONING,
        "max_output_tokens": MAX_OUTPUT_TOKENS,
        "truncation": _TRUNCATION,
        "tracing": Nullable(
            Either(
                Text(("auto",)),
                Record({"workflow_name": Text(), "group_id": Text(), "metadata": MapOf(Anything(), 16, 64)}),
            )
        ),
        "include": Nullable(ListOf(Text(("item.input_audio_transcription.logprobs",)))),
        "prompt": PROMPT,
    },
    ("type",),
)
