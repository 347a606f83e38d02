// PURE. What is said on both sides, in order, and whose turn it is: the protocol's events in, effects out.
//
//   hear(event, now)      effects: {do: "play", item, part, did, base64 or frame} · {do: "flush"} · {do: "tell", sentence}
//   phase                 listening · hearing · interrupted · thinking · speaking
//   items                 in order: {id, role, text, status}; status: pending · live · done · interrupted · failed
//   latencyMs             of the last answer: from the end of the user's turn to its first sound; null before the first
//
// Time is an argument, in milliseconds.

/** Errors about events that bear this name are of no interest to the user. */
export const QUIET = "quiet_";

const MAX_RESPONSES = 64;

export class Conversation {
  #items = new Map();
  #responses = new Map(); // id → is dropped
  #spans = new Map(); // user item → {startMs, endMs} of speech
  #active = new Set(); // responses that are being generated
  #isUserSpeaking = false;
  #isInterrupted = false;
  #isPlaying = false;
  #isAwaiting = false; // an answer
  #endedAt = null; // the user's last turn
  #silenceMs = 500;
  items = [];
  latencyMs = null;
  interruptions = 0;

  get phase() {
    if (this.#isUserSpeaking) return this.#isInterrupted ? "interrupted" : "hearing";
    if (this.#isPlaying) return "speaking";
    if (this.#isAwaiting || this.#active.size) return "thinking";
    return "listening";
  }

  /** All of it, as text. */
  get transcript() {
    const names = { user: "You", assistant: "Parley", tool: "Tool" };
    const lines = this.items.filter(({ text }) => text.trim());
    return lines.map(({ role, text, status }) => `${names[role]}: ${text.trim()}${status === "interrupted" ? " —" : ""}\n`).join("\n");
  }

  hear(event, now) {
    switch (event.type) {
      case "session.created":
      case "session.updated":
        this.#silenceMs = event.session?.audio?.input?.turn_detection?.silence_duration_ms ?? this.#silenceMs;
        return [];
      case "input_audio_buffer.speech_started":
        this.#place(event.item_id, "user");
        this.#spans.set(event.item_id, { startMs: event.audio_start_ms });
        return this.userStarts();
      case "input_audio_buffer.speech_stopped":
        this.#span(event.item_id, event.audio_end_ms - this.#silenceMs);
        this.userStops(now - this.#silenceMs);
        return [];
      case "input_audio_buffer.committed":
        this.#place(event.item_id, "user", event.previous_item_id);
        return [];
      case "conversation.item.added":
      case "conversation.item.done":
        this.#add(event.item, event.previous_item_id);
        return [];
      case "conversation.item.deleted":
        this.#remove(event.item_id);
        return [];
      case "conversation.item.input_audio_transcription.delta":
        this.#write(event.item_id, "user", event.content_index, event.delta, { grows: true });
        return [];
      case "conversation.item.input_audio_transcription.completed":
        this.#write(event.item_id, "user", event.content_index, event.transcript, { isDone: true });
        return [];
      case "conversation.item.input_audio_transcription.failed":
        this.#finish(event.item_id, "failed");
        return [];
      case "response.created":
        this.#begin(event.response.id);
        return [];
      case "response.output_item.added":
        this.#begin(event.response_id);
        this.#add(event.item, undefined, event.response_id);
        return [];
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        this.#write(event.item_id, "assistant", event.content_index, event.delta, { grows: true, response: event.response_id });
        return [];
      case "response.output_audio_transcript.done":
        this.#write(event.item_id, "assistant", event.content_index, event.transcript, { response: event.response_id });
        return [];
      case "response.output_text.done":
        this.#write(event.item_id, "assistant", event.content_index, event.text, { response: event.response_id });
        return [];
      case "response.output_audio.delta":
        if (this.#responses.get(event.response_id)) return []; // of an answer that was interrupted
        this.#isPlaying = true;
        this.#place(event.item_id, "assistant").isToBeHeard = true;
        return [{ do: "play", item: event.item_id, part: event.content_index, did: event.did, base64: event.delta }];
      case "parley.audio": {
        const { response } = this.#place(event.item, "assistant");
        if (this.#responses.get(response)) return [];
        this.#isPlaying = true;
        this.#items.get(event.item).isToBeHeard = true;
        return [{ do: "play", item: event.item, part: event.part, did: event.did, frame: event }];
      }
      case "response.done":
        return this.#done(event.response);
      case "error":
        return this.#failed(event.error);
      case "parley.notice":
        return [{ do: "tell", sentence: event.message }];
      default:
        return [];
    }
  }

  /** The user begins to speak: what is generated or heard is interrupted. */
  userStarts() {
    const interrupts = this.#isPlaying || this.#active.size > 0;
    this.#isUserSpeaking = true;
    this.#isAwaiting = false;
    this.#isInterrupted = interrupts;
    if (!interrupts) return [];
    this.interruptions += 1;
    for (const [response, dropped] of this.#responses) {
      if (dropped) continue;
      this.#responses.set(response, true);
      for (const item of this.items) {
        if (item.response === response && (item.status === "live" || item.isToBeHeard)) item.status = "interrupted";
      }
    }
    this.#isPlaying = false;
    this.#active.clear();
    return [{ do: "flush" }];
  }

  /** The user's turn has ended, at that time. */
  userStops(at) {
    this.#isUserSpeaking = this.#isInterrupted = false;
    this.#isAwaiting = true;
    this.#endedAt = at;
  }

  /** The user has said nothing after all. */
  userGivesUp() {
    this.#isUserSpeaking = this.#isInterrupted = this.#isAwaiting = false;
  }

  /** The user has typed something. */
  typed(id, text, now) {
    const effects = this.userStarts();
    this.#write(id, "user", 0, text, {});
    this.#items.get(id).status = "pending";
    this.userStops(now);
    return effects;
  }

  /** The first sound of an item is heard. */
  began(item, now) {
    const response = this.#items.get(item)?.response;
    for (const other of this.items) if (other.response !== response) other.isToBeHeard = false;
    if (this.#endedAt === null) return;
    this.latencyMs = Math.max(0, Math.round(now - this.#endedAt));
    this.#endedAt = null;
  }

  /** All that has come has been heard. */
  drained() {
    this.#isPlaying = false;
    for (const item of this.items) if (item.status === "done") item.isToBeHeard = false;
  }

  /** The line was lost for good, or the session is over. */
  stops() {
    this.#isPlaying = false;
    this.#active.clear();
    this.userGivesUp();
  }

  #begin(response) {
    if (this.#responses.has(response)) return;
    this.#responses.set(response, false);
    this.#active.add(response);
    this.#isAwaiting = false;
    while (this.#responses.size > MAX_RESPONSES) this.#responses.delete(this.#responses.keys().next().value);
  }

  #done({ id, status, status_details: details, output }) {
    const wasActive = this.#active.delete(id);
    this.#isAwaiting = false;
    for (const { id: item } of output ?? []) this.#finish(item, status === "cancelled" ? "interrupted" : "done");
    for (const item of this.items) {
      if (item.response === id && item.status === "live") item.status = status === "cancelled" ? "interrupted" : "done";
    }
    if (status !== "failed" || !wasActive) return [];
    return [{ do: "tell", sentence: details?.error?.message ?? "The model could not answer. Say it again." }];
  }

  #failed(error) {
    if (error?.event_id?.startsWith?.(QUIET)) return [];
    this.#isAwaiting = false;
    return [{ do: "tell", sentence: error?.message ?? "Something went wrong. Say it again." }];
  }

  #add(item, previous, response) {
    const role = item.type === "message" ? item.role : "tool";
    if (role === "system") return;
    const known = this.#place(item.id, role, previous);
    if (response) known.response = response;
    if (known.status === "pending") known.status = "done";
    if (item.type === "function_call") known.parts = [`${item.name}()`];
    else if (item.type !== "message") known.parts = [item.type.replaceAll("_", " ")];
    item.content?.forEach((part, index) => {
      const text = part.text ?? part.transcript;
      if (text && !known.parts[index]) known.parts[index] = text;
    });
    known.text = known.parts.join("");
  }

  /** The item, where it belongs; new ones without a place come last. */
  #place(id, role, previous) {
    let item = this.#items.get(id);
    if (item === undefined) {
      item = { id, role, parts: [], text: "", status: "live" };
      this.#items.set(id, item);
      this.items.push(item);
    }
    const before = previous ? this.items.findIndex((other) => other.id === previous) : -1;
    const at = this.items.indexOf(item);
    if (before >= 0 && at !== before + 1) {
      this.items.splice(at, 1);
      this.items.splice(this.items.findIndex((other) => other.id === previous) + 1, 0, item);
    }
    return item;
  }

  #remove(id) {
    this.items = this.items.filter((item) => item.id !== id);
    this.#items.delete(id);
  }

  #write(id, role, part, text, { grows = false, isDone = false, response }) {
    const item = this.#place(id, role);
    if (response) item.response = response;
    item.parts[part ?? 0] = grows ? (item.parts[part ?? 0] ?? "") + text : text;
    item.text = item.parts.join("");
    if (isDone) item.status = "done";
  }

  #finish(id, status) {
    const item = this.#items.get(id);
    if (item !== undefined && item.status !== "interrupted") item.status = status;
  }

  #span(id, endMs) {
    const span = this.#spans.get(id);
    if (span === undefined) return;
    this.#spans.delete(id);
    const item = this.#items.get(id);
    if (item) item.seconds = Math.max(0, endMs - span.startMs) / 1000;
  }
}
