// One session, over whatever line there is: what is said is numbered and kept until it is safe, what is heard is heard once
// and in order, and a line that breaks is dialled again.
//
//   state       idle · dialling · up · waiting (for the next dial) · over
//   on "state"  {state, sentence, retryInMs, needsToken}
//   on "event"  an event of the protocol, each once
//   on "lost"   {what: "said" | "heard"}: the sentence for the user is up to the page

import { NotAllowed, TokenWanted } from "./admission.js";
import { delay } from "./backoff.js";
import { Ring } from "./ring.js";
import { Verdict } from "./transport.js";

/** With something unacknowledged for so long, the line is dead, whatever the browser thinks of it. */
const DEAD_MS = 8_000;
const RECEIVED_EVERY_MS = 250;
/** A line that has held for so long makes the next break a first one. */
const HELD_MS = 5_000;

export class Line extends EventTarget {
  #admission;
  #query;
  #Transport;
  #transport = null;
  #ring = new Ring();
  #after = null; // the last did that was heard
  #tail = null; // the did of the last tail: its own event is still to come with the same one
  #isReady = false; // the server has said from where to go on
  #attempt = 0;
  #upSince = 0;
  #redialTimer = null;
  #receivedTimer = null;
  #watchdog = null;
  #isLosing = false;

  /** `query`: what each dial asks for besides, such as the codecs of both ways. */
  constructor(admission, Transport, query = {}) {
    super();
    this.#query = query;
    this.#admission = admission;
    this.#Transport = Transport;
    this.state = "idle";
    this.session = null;
    this.dials = 0;
  }

  get unacked() {
    return this.#ring.last - this.#ring.acked;
  }

  open() {
    window.addEventListener("online", this.#online);
    window.addEventListener("offline", this.#offline);
    this.#watchdog = setInterval(() => this.#watch(), 1_000);
    void this.#dial();
  }

  /** Number the event, keep it, and send it if there is a line. False when it was speech and there is no more room. */
  say(event) {
    if (this.state === "over") return false;
    const entry = this.#ring.add(event, performance.now());
    if (entry === null) {
      if (!this.#isLosing) this.#emit("lost", { what: "said" });
      this.#isLosing = true;
      return false;
    }
    if (this.#isReady) this.#transport.send([entry.text]);
    return true;
  }

  /** Say something that is worth nothing later: without a line it is left out. */
  mention(event) {
    if (this.#isReady) this.#transport.send([JSON.stringify(event)]);
  }

  /** Go on over another kind of line. */
  use(Transport) {
    if (Transport === this.#Transport) return;
    this.#Transport = Transport;
    if (this.state === "idle" || this.state === "over") return;
    this.redial();
  }

  /** Hang up and dial at once. */
  redial() {
    this.#hangUp();
    this.#attempt = 0;
    void this.#dial();
  }

  /** The session is over, because we say so. */
  end() {
    this.#transport?.end();
    this.#over(new Verdict("You have ended the conversation.", { redial: false, code: "ended" }));
  }

  async #dial() {
    clearTimeout(this.#redialTimer);
    this.#attempt += 1;
    this.dials += 1;
    this.#set("dialling", {});
    let transport = null;
    const handlers = {
      onEvent: (event) => transport === this.#transport && this.#heard(event),
      onDown: (verdict) => transport === this.#transport && this.#down(verdict),
    };
    transport = new this.#Transport(handlers);
    this.#transport = transport;
    try {
      const ticket = await this.#admission.ticket();
      if (transport !== this.#transport || this.state === "over") return;
      const { headers } = this.#admission;
      await transport.dial({ session: this.session, after: this.#after, ticket, headers, query: this.#query });
    } catch (error) {
      if (transport !== this.#transport || this.state !== "dialling") return; // it was told already
      if (error instanceof TokenWanted) {
        this.#down(new Verdict(error.message, { redial: false, code: 401, needsToken: true }));
      } else if (error instanceof NotAllowed) {
        this.#down(new Verdict(error.message, { redial: false, code: 403 }));
      } else if (error instanceof Verdict) {
        this.#down(error);
      } else {
        this.#down(new Verdict("The server does not answer."));
      }
    }
  }

  #heard(event) {
    switch (event.type) {
      case "parley.ack":
        this.#ring.ack(event.useq, performance.now());
        this.#isLosing = false;
        return;
      case "parley.want":
        this.#sendFrom(event.useq);
        return;
      case "parley.resumed":
        this.#goOn(event.next_useq);
        return;
      case "parley.resync":
        this.#emit("lost", { what: "heard" });
        return;
      case "session.created":
        if (!this.#isReady) {
          this.session = event.session.id;
          this.#note(event.did);
          this.#goOn(1);
        }
        this.#emit("event", event);
        return;
      default:
        if (event.isTail ? !this.#noteTail(event.did) : event.did !== undefined && !this.#note(event.did)) return; // heard before
        this.#emit("event", event);
    }
  }

  #goOn(next) {
    this.#ring.retreat(next - 1);
    this.#ring.ack(next - 1, performance.now());
    this.#isReady = true;
    this.#upSince = performance.now();
    this.#sendFrom(next);
    this.#set("up", {});
  }

  #sendFrom(useq) {
    const { again, lost } = this.#ring.from(useq);
    if (lost) this.#emit("lost", { what: "said" });
    this.#transport.send(again.map(({ text }) => text));
  }

  /** Whether it is new. */
  #note(did) {
    if (did === undefined || (this.#after !== null && compare(did, this.#after) <= 0)) return false;
    this.#after = did;
    this.#receivedTimer ??= setTimeout(() => {
      this.#receivedTimer = null;
      this.mention({ type: "parley.received", did: this.#after });
    }, RECEIVED_EVERY_MS);
    return true;
  }

  /** Whether this tail is new. It counts as got with the event behind it only. */
  #noteTail(did) {
    if (did === this.#tail || (this.#after !== null && compare(did, this.#after) <= 0)) return false;
    this.#tail = did;
    return true;
  }

  #down(verdict) {
    if (this.state === "over") return;
    if (performance.now() - this.#upSince > HELD_MS && this.#isReady) this.#attempt = 0;
    this.#hangUp();
    if (!verdict.redial) {
      this.#over(verdict);
      return;
    }
    const wait = Math.max(delay(this.#attempt + 1), verdict.waitMs);
    this.#redialTimer = setTimeout(() => this.#dial(), wait);
    this.#set("waiting", { sentence: verdict.sentence, retryInMs: wait });
  }

  #hangUp() {
    const transport = this.#transport;
    this.#transport = null;
    this.#isReady = false;
    clearTimeout(this.#redialTimer);
    transport?.drop();
  }

  #over(verdict) {
    this.#hangUp();
    clearTimeout(this.#receivedTimer);
    clearInterval(this.#watchdog);
    window.removeEventListener("online", this.#online);
    window.removeEventListener("offline", this.#offline);
    this.#set("over", { sentence: verdict.sentence, code: verdict.code, needsToken: verdict.needsToken });
  }

  #watch() {
    const oldest = this.#ring.oldestUnacked;
    const now = performance.now();
    if (this.state === "up" && oldest !== null && now - Math.max(oldest, this.#upSince) > DEAD_MS) {
      this.#down(new Verdict("The connection has gone silent."));
    }
  }

  #online = () => {
    if (this.state === "waiting") this.redial();
  };

  #offline = () => {
    if (this.state === "up" || this.state === "dialling") this.#down(new Verdict("This device is offline."));
  };

  #set(state, detail) {
    this.state = state;
    this.#emit("state", { state, ...detail });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** The order of two dids, `<epoch>-<n>`. */
export function compare(a, b) {
  const [left, right] = [a, b].map((did) => did.split("-").map(Number));
  return left[0] - right[0] || left[1] - right[1];
}
