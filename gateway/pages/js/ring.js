// PURE. What was said and is not known to be safe: numbered, kept, and given again when the server asks for it.
//
// An event stays until it is acknowledged and ten seconds old: after a failover the server may know less than it has
// acknowledged. Time is an argument, in milliseconds.

export const KEPT_MS = 10_000;

/** What may wait unacknowledged, in characters of JSON: some 60 s of PCM16 at 24 kHz in base64. */
export const MAX_WAITING_CHARS = 4 << 20;

/** An event that says nothing and uses up a number whose own event is gone. */
const nothing = (useq) => JSON.stringify({ type: "input_audio_buffer.append", audio: "", useq });

export class Ring {
  #entries = []; // {useq, text, at, isSpeech}, in the order of their numbers
  #acked = 0;
  #waiting = 0; // characters that are not acknowledged

  constructor(maxWaitingChars = MAX_WAITING_CHARS) {
    this.maxWaitingChars = maxWaitingChars;
    this.last = 0; // the number that was given out last
  }

  get acked() {
    return this.#acked;
  }

  /** When the oldest event that is not acknowledged was said; null when all are. */
  get oldestUnacked() {
    return this.#entries.find((entry) => entry.useq > this.#acked)?.at ?? null;
  }

  /** Give the event the next number and keep it. Null when there is no room for more speech; all else has room. */
  add(event, now) {
    const useq = this.last + 1;
    const text = JSON.stringify({ ...event, useq });
    const isSpeech = event.type === "input_audio_buffer.append";
    if (isSpeech && this.#waiting + text.length > this.maxWaitingChars) return null;
    this.last = useq;
    this.#waiting += text.length;
    const entry = { useq, text, at: now };
    this.#entries.push(entry);
    return entry;
  }

  /** All up to this number is stored. */
  ack(useq, now) {
    if (useq > this.#acked) {
      for (const entry of this.#entries) {
        if (entry.useq > useq) break;
        if (entry.useq > this.#acked) this.#waiting -= entry.text.length;
      }
      this.#acked = Math.min(useq, this.last);
    }
    let gone = 0;
    while (gone < this.#entries.length && this.#entries[gone].useq <= this.#acked && now - this.#entries[gone].at > KEPT_MS) {
      gone += 1;
    }
    this.#entries.splice(0, gone);
  }

  /**
   * All from this number on, to be sent again; `lost` is how many of them are gone. In their place stands an event that
   * says nothing: the server takes numbers without holes only.
   */
  from(useq) {
    const first = this.#entries[0]?.useq ?? this.last + 1;
    const lost = Math.max(0, first - useq);
    const again = [];
    for (let number = useq; number < first; number += 1) again.push({ useq: number, text: nothing(number) });
    for (const entry of this.#entries) if (entry.useq >= useq) again.push(entry);
    return { again, lost };
  }

  /** The server has less than it had acknowledged: this is the last number that it really has. */
  retreat(useq) {
    if (useq >= this.#acked) return;
    for (const entry of this.#entries) {
      if (entry.useq > useq && entry.useq <= this.#acked) this.#waiting += entry.text.length;
    }
    this.#acked = useq;
  }
}
