#!/usr/bin/env bash
# Say a recording to Parley, and keep what it answers: talk.sh QUESTION.wav ANSWER.pcm   (both 24 kHz, 16 bits, mono)
set -euo pipefail

[ $# = 2 ] || { echo "usage: talk.sh QUESTION.wav ANSWER.pcm" >&2; exit 2; }
FORMAT=$(od -An -tx1 -j20 -N16 "$1" | tr -d ' \n') # of a WAV: PCM, one channel, 24,000 of 16 bits in a second
[ "$FORMAT" = 01000100c05d000080bb000002001000 ] || { echo "$1 is not a WAV of 24 kHz, 16 bits, mono: ffmpeg -i $1 -ar 24000 -ac 1 -c:a pcm_s16le question.wav" >&2; exit 2; }

P=${PARLEY:-http://127.0.0.1:8000}/v1/realtime
T=$(mktemp -d)
CURL=(curl -sS --fail-with-body ${TOKEN:+-H "Authorization: Bearer $TOKEN"})

# Wait until this was heard. Whatever else ends the wait is shown: the stream has ended, or it tells of an error.
until_heard() {
  until grep -qs "$1" "${@:2}"; do
    kill -0 "$LISTENER" 2> /dev/null && ! grep -qs '^event: error' "${@:2}" || { cat "${@:2}" >&2; exit 1; }
    sleep 0.1
  done
}

# Listen. The first event names the session.
"${CURL[@]}" -N "$P/sse?model=any" > "$T/heard" & LISTENER=$!
trap 'kill "$LISTENER" 2> /dev/null || true' EXIT
until_heard '^event: session.created' "$T/heard"
until S=$(grep -som1 'sess_[0-9a-f]*' "$T/heard"); do sleep 0.1; done

# We say ourselves where a turn ends, so a pause in the recording ends none.
"${CURL[@]}" "$P/events?session=$S" -d '[{"type": "session.update",
  "session": {"type": "realtime", "audio": {"input": {"turn_detection": null}}}}]'

# Speak: PCM16, 24 kHz, mono, without the WAV's header. A microphone does too: arecord -t raw -f S16_LE -r 24000 | …
tail -c +45 "$1" | "${CURL[@]}" -X POST -T - "$P/audio?session=$S"
"${CURL[@]}" "$P/events?session=$S" -d '[{"type": "input_audio_buffer.commit"}, {"type": "response.create"}]'

# The line breaks. What the session says now is kept for us.
until_heard '^event: response.created' "$T/heard"
kill "$LISTENER"; wait "$LISTENER" || true

# Go on behind the last event that came whole: an event ends with an empty line.
sed -n 'H; /^$/ { x; p; s/.*//; x; }' "$T/heard" > "$T/whole"
LAST=$(sed -n 's/^id: //p' "$T/whole" | tail -n 1)
"${CURL[@]}" -N -H "Last-Event-ID: $LAST" "$P/sse?model=any&session=$S" > "$T/rest" & LISTENER=$!
until_heard '^event: response.done' "$T/whole" "$T/rest"

# The answer. Each delta is base64 of its own.
sed -n '/^event: response.output_audio.delta$/ { n; s/.*"delta": *"\([^"]*\)".*/\1/p; }' "$T/whole" "$T/rest" |
  while read -r delta; do printf %s "$delta" | base64 -d; done > "$2"

# An interruption: fall silent, and say how much was heard. While the answer is still made, say response.cancel before.
ITEM=$(sed -n '/^event: response.output_audio.done$/ { n; s/.*"item_id": *"\([^"]*\)".*/\1/p; }' "$T/whole" "$T/rest")
"${CURL[@]}" "$P/events?session=$S" -d '[{"type": "conversation.item.truncate",
  "item_id": "'"$ITEM"'", "content_index": 0, "audio_end_ms": 500}]'
until_heard '^event: conversation.item.truncated' "$T/rest"

# Leave. Without this the session would wait for us for a minute.
"${CURL[@]}" -X POST "$P/end?session=$S"
wait "$LISTENER"
