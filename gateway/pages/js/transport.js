// How events move. Two classes of one shape; which of them carries a session may change at any dial.
//
//   new Transport(handlers)       onEvent(event), once for each that comes; onDown(verdict), once
//   await dial(url parts)         until the server has answered; raises TypeError when it does not, Verdict when it refuses
//   send(texts)                   JSON texts, in order; what becomes of them the events tell (parley.ack, parley.want)
//   end()                         goodbye: the session is over
//   drop()                        hang up: the session waits
//
// A verdict says what a lost line means: {redial, code, sentence, waitMs}.

import { root } from "./admission.js";
import { readFrame } from "./packets.js";
import { decode } from "./pcm.js";
import { EventParser } from "./sse.js";

const DIAL_MS = 10_000;
/** Between two POSTs: what has gathered goes out together. */
const GATHER_MS = 100;
const POST_MS = 15_000;
const MAX_BATCH_CHARS = 512 << 10;
/** The server says something every 15 s, if only a comment. */
const SILENCE_MS = 40_000;

export class Verdict extends Error {
  constructor(sentence, { redial = true, code = null, waitMs = 0, needsToken = false } = {}) {
    super(sentence);
    Object.assign(this, { sentence, redial, code, waitMs, needsToken });
  }
}

const GONE = "This conversation has ended. Start a new one.";
const REPLACED = "This conversation goes on in another window or device, so it has ended here.";
const OVER = "The conversation has ended.";

const FAILED = "The conversation has failed. Start a new one.";
const TOKEN_WANTED = "The server asks for a token. Enter yours.";

/** What a close code means. The server's sentence is for people, where it has one. */
function closed(code, reason) {
  switch (code) {
    case 1000:
      return new Verdict(reason || OVER, { redial: false, code });
    case 1008:
    case 3000:
      return new Verdict(TOKEN_WANTED, { redial: false, code, needsToken: true });
    case 1009:
      return new Verdict("What was sent was larger than the server takes.", { redial: false, code });
    case 1011:
      return new Verdict(reason || FAILED, { redial: false, code });
    case 1012:
      return new Verdict("The server restarts.", { code });
    case 4409:
      return new Verdict(REPLACED, { redial: false, code });
    case 4404:
      return new Verdict(GONE, { redial: false, code });
    default:
      return code >= 4400 && code < 4500
        ? new Verdict(reason || OVER, { redial: false, code })
        : new Verdict("The connection was lost.", { code });
  }
}

function address(path, query) {
  const url = new URL(path, root());
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  return url;
}

class Transport {
  #isDown = false;

  constructor({ onEvent, onDown }) {
    this.onEvent = onEvent;
    this.tellDown = onDown;
  }

  get isDown() {
    return this.#isDown;
  }

  /** Once, whatever happens afterwards. */
  down(verdict) {
    if (this.#isDown) return;
    this.#isDown = true;
    this.tellDown(verdict);
  }

  /** From now on nothing of this line is heard. */
  mute() {
    this.#isDown = true;
    this.onEvent = () => {};
  }
}

export class WebSocketTransport extends Transport {
  static id = "websocket";
  static label = "WebSocket";
  #socket = null;

  dial({ session, after, ticket, query }) {
    const url = address("v1/realtime", { model: "parley", parley: "1", ...query, session, after, ticket });
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.drop(new Verdict("The server does not answer.")), DIAL_MS);
      socket.onopen = () => resolve();
      socket.onmessage = ({ data }) => {
        clearTimeout(timer);
        this.onEvent(typeof data === "string" ? JSON.parse(data) : readFrame(new Uint8Array(data)));
      };
      socket.onclose = ({ code, reason }) => {
        clearTimeout(timer);
        const verdict = closed(code, reason);
        reject(verdict);
        this.down(verdict);
      };
    });
  }

  send(texts) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    for (const text of texts) this.#socket.send(text);
  }

  end() {
    this.mute();
    this.#socket?.close(1000);
  }

  drop(verdict = new Verdict("The connection was lost.")) {
    this.#socket?.close(4000, "dialling again");
    this.down(verdict);
    this.mute();
  }
}

export class HttpTransport extends Transport {
  static id = "http";
  static label = "SSE + POST";
  #aborter = new AbortController();
  #session;
  #headers;
  #waiting = [];
  #isPosting = false;
  #timer = null;

  async dial({ session, after, ticket, headers, query }) {
    this.#session = session;
    this.#headers = headers;
    const url = address("v1/realtime/sse", { model: "parley", parley: "1", ...query, session, after, ticket });
    const dialling = setTimeout(() => this.drop(new Verdict("The server does not answer.")), DIAL_MS);
    let response;
    try {
      response = await fetch(url, {
        headers: { Accept: "text/event-stream", ...headers },
        cache: "no-store",
        signal: this.#aborter.signal,
      });
    } catch {
      this.down(new Verdict("The connection was lost."));
      throw new Verdict("The server does not answer.");
    } finally {
      clearTimeout(dialling);
    }
    const verdict = await refusal(response);
    if (verdict !== null) {
      this.down(verdict);
      throw verdict;
    }
    void this.#read(response.body.getReader());
  }

  async #read(reader) {
    const parser = new EventParser();
    const decoder = new TextDecoder();
    let watchdog = 0;
    try {
      for (;;) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => this.drop(), SILENCE_MS);
        const { done, value } = await reader.read();
        if (done) break;
        for (const { data } of parser.feed(decoder.decode(value, { stream: true }))) {
          this.#heard(JSON.parse(data));
        }
      }
      this.down(new Verdict("The connection was lost."));
    } catch {
      this.down(new Verdict("The connection was lost."));
    } finally {
      clearTimeout(watchdog);
      this.#stop();
    }
  }

  #heard(event) {
    if (event.type === "parley.closed") {
      this.down(closed(event.code, event.reason));
      return;
    }
    if (event.type === "session.created") this.#session = event.session.id;
    this.onEvent(event.type === "parley.audio" ? readFrame(decode(event.frame)) : event);
  }

  send(texts) {
    this.#waiting.push(...texts);
    this.#timer ??= setTimeout(() => this.#post(), GATHER_MS);
  }

  async #post() {
    this.#timer = null;
    if (this.#isPosting || this.isDown || !this.#session || !this.#waiting.length) return;
    this.#isPosting = true;
    const batch = [];
    for (let chars = 0; this.#waiting.length && (!batch.length || chars < MAX_BATCH_CHARS); ) {
      chars += this.#waiting[0].length;
      batch.push(this.#waiting.shift());
    }
    try {
      await this.#postUntilTaken(`[${batch.join(",")}]`);
    } catch {
      this.drop();
    } finally {
      this.#isPosting = false;
      if (this.#waiting.length && !this.isDown) this.#timer ??= setTimeout(() => this.#post(), GATHER_MS);
    }
  }

  async #postUntilTaken(body) {
    for (;;) {
      const response = await fetch(address("v1/realtime/events", { session: this.#session }), {
        method: "POST",
        headers: { "Content-Type": "application/json", ...this.#headers },
        body,
        signal: AbortSignal.any([this.#aborter.signal, AbortSignal.timeout(POST_MS)]),
      });
      if (response.status === 429 || response.status === 503) {
        await new Promise((resolve) => setTimeout(resolve, retryAfterMs(response)));
        if (this.isDown) return;
        continue;
      }
      const answer = await response.json().catch(() => ({}));
      if (response.ok) {
        if (Number.isInteger(answer.acked)) this.onEvent({ type: "parley.ack", useq: answer.acked });
      } else if (response.status === 409) {
        this.#waiting = []; // all of it is sent again
        this.onEvent({ type: "parley.want", useq: answer.want });
      } else {
        this.drop((await refusal(response)) ?? undefined);
      }
      return;
    }
  }

  end() {
    if (this.#session) {
      const url = address("v1/realtime/end", { session: this.#session });
      fetch(url, { method: "POST", headers: this.#headers, keepalive: true }).catch(() => {});
    }
    this.mute();
    this.#stop();
  }

  drop(verdict = new Verdict("The connection was lost.")) {
    this.down(verdict);
    this.mute();
    this.#stop();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#aborter.abort();
  }
}

/** What a status means; null for a stream that has begun. */
async function refusal(response) {
  switch (response.status) {
    case 200:
      return response.headers.get("Content-Type")?.startsWith("text/event-stream")
        ? null
        : new Verdict("This server does not speak SSE. Choose WebSocket.", { redial: false, code: 200 });
    case 204:
      return new Verdict(OVER, { redial: false, code: 204 });
    case 401:
      return new Verdict(TOKEN_WANTED, { redial: false, code: 401, needsToken: true });
    case 404:
      return response.headers.get("Content-Type")?.startsWith("application/json")
        ? new Verdict(GONE, { redial: false, code: 404 })
        : new Verdict("This server has no SSE. Choose WebSocket.", { redial: false, code: 404 });
    case 429:
      return new Verdict("The server has too much to do.", { code: 429, waitMs: retryAfterMs(response) });
    case 503:
      return new Verdict("The server restarts.", { code: 503, waitMs: retryAfterMs(response) });
    default:
      return new Verdict("The server refuses the connection.", { redial: response.status >= 500, code: response.status });
  }
}

function retryAfterMs(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  return Math.min(30, seconds > 0 ? seconds : 1) * 1000;
}

export const TRANSPORTS = [WebSocketTransport, HttpTransport];
