// A talk with the model: the line, the microphone, the player and the conversation, put together. Knows no document.
//
//   on "change"   something that is shown has changed
//   on "tell"     {sentence, kind: "info" | "error"}: for the user

import { Conversation, QUIET } from "./conversation.js";
import { Line } from "./line.js";
import { CODECS, getMicrophone, MicrophoneRefused, obstacle } from "./microphone.js";
import { OpusDecoder } from "./opus.js";
import { decode, encode, Joiner, SAMPLE_RATE } from "./pcm.js";
import { Player } from "./player.js";
import { Tape } from "./tape.js";

const HANDS_FREE = { type: "server_vad", create_response: true, interrupt_response: true };
const PLAYED_EVERY_MS = 250;
const FULL = "More has come than can be kept; the end of this answer is left out.";
/** The model refuses to take less than 100 ms for a turn. */
const SHORTEST_SAMPLES = SAMPLE_RATE / 10;

export class Talk extends EventTarget {
  #admission;
  #context = null;
  #decoder = null;
  #hasRoom = true; // for what was said last
  #joiners = new Map(); // item → what joins its samples
  #parts = new Map(); // item → content index
  #heldSamples = 0;
  #playedTimer = null;
  #played = null;
  #wakeLock = null;

  constructor(admission, Transport) {
    super();
    this.#admission = admission;
    this.Transport = Transport;
    this.Codec = CODECS[0];
    this.NextCodec = CODECS[0];
    this.conversation = new Conversation();
    this.voice = new Tape();
    this.answers = new Tape();
    this.line = null;
    this.player = null;
    this.microphone = null;
    this.isPushToTalk = false;
    this.isHeld = false;
    this.isMuted = false;
    this.isMicrophoneRefused = false;
    this.lineState = { state: "idle" };
  }

  get isLive() {
    return this.line !== null && this.line.state !== "over";
  }

  /** Begin, with the microphone or without. To be called from a click: browsers give sound to nobody else. */
  async start({ withMicrophone }) {
    if (this.isLive) return;
    const canSound = obstacle() === null || "AudioWorkletNode" in window;
    this.conversation = new Conversation();
    this.voice = new Tape();
    this.answers = new Tape();
    this.Codec = this.NextCodec;
    this.#hasRoom = true;
    this.isMuted = this.isHeld = false;
    this.#openLine(canSound);
    this.#change();
    if (canSound) await this.#openSound();
    if (withMicrophone) await this.useMicrophone();
    this.#keepAwake();
  }

  #openLine(canSound) {
    const line = new Line(this.#admission, this.Transport, this.Codec.query);
    this.line = line;
    line.addEventListener("event", ({ detail }) => this.#heard(detail));
    line.addEventListener("lost", ({ detail }) => this.#lost(detail));
    line.addEventListener("state", ({ detail }) => {
      this.lineState = detail;
      if (detail.state === "over") this.#stop();
      this.#change();
    });
    line.say({ type: "session.update", session: this.#settings(canSound ? {} : { output_modalities: ["text"] }) });
    line.open();
  }

  #settings(more = {}) {
    return { type: "realtime", ...more, audio: { input: { turn_detection: this.isPushToTalk ? null : HANDS_FREE } } };
  }

  async #openSound() {
    const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
    this.#context = context;
    context.onstatechange = () => this.#change();
    void context.resume();
    let player;
    try {
      player = await Player.open(context, this.answers);
    } catch {
      if (this.#context === context) this.#tell("This browser cannot play sound here. Answers are shown as text.", "error");
      return;
    }
    if (this.#context !== context) {
      player.close();
      return; // it is over already
    }
    this.player = player;
    player.addEventListener("began", ({ detail }) => {
      this.conversation.began(detail.item, performance.now() + (context.outputLatency || context.baseLatency || 0) * 1000);
      this.#change();
    });
    player.addEventListener("played", ({ detail }) => this.#reportPlayed(detail));
    player.addEventListener("drained", () => {
      if (this.#decoder?.isBusy) return; // there is more
      this.conversation.drained();
      this.#change();
    });
    player.addEventListener("full", () => this.#tell(FULL, "error"));
    for (const [item, did, samples] of this.#early.splice(0)) player.push(item, did, samples);
  }

  /** What came before there was a player. */
  #early = [];

  /** Ask for the microphone; without one the talk goes on in writing. */
  async useMicrophone() {
    let stream;
    try {
      stream = await getMicrophone();
      if (!this.isLive || this.#context === null) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      this.microphone = await this.Codec.open(this.#context, stream, {
        onChunk: (bytes) => this.#chunk(bytes),
        onFrame: (samples) => this.#frame(samples),
        onLost: () => this.#microphoneLost(),
      });
      this.isMicrophoneRefused = false;
      if (!this.isPushToTalk) this.microphone.begin();
    } catch (error) {
      for (const track of stream?.getTracks() ?? []) track.stop();
      this.isMicrophoneRefused = true;
      const sentence = error instanceof MicrophoneRefused ? error.message : "The microphone cannot be used. Try again, or type.";
      this.#tell(sentence, "error");
    }
    this.#change();
  }

  #microphoneLost() {
    this.microphone?.close();
    this.microphone = null;
    this.isMicrophoneRefused = true;
    this.#tell("The microphone is gone. Plug it in again, or type.", "error");
    this.#change();
  }

  get #isListening() {
    return this.isLive && (!this.isPushToTalk || this.isHeld);
  }

  #chunk(bytes) {
    if (this.#isListening) this.#hasRoom = this.line.say({ type: "input_audio_buffer.append", audio: encode(bytes) });
  }

  #frame(samples) {
    if (!this.#isListening) return;
    this.#heldSamples += samples.length;
    if (this.#hasRoom) this.voice.add(samples);
  }

  // ---- what the user does ------------------------------------------------------------------------------------------

  set muted(isMuted) {
    this.isMuted = isMuted;
    if (this.microphone) this.microphone.isMuted = isMuted;
    this.#change();
  }

  /** Hands-free, or hold to talk. */
  set pushToTalk(isPushToTalk) {
    if (isPushToTalk === this.isPushToTalk) return;
    this.isPushToTalk = isPushToTalk;
    this.isHeld = false;
    if (isPushToTalk) void this.microphone?.finish();
    else this.microphone?.begin();
    if (this.isLive) {
      this.conversation.userGivesUp();
      this.line.say({ type: "input_audio_buffer.clear" });
      this.line.say({ type: "session.update", session: this.#settings() });
    }
    this.#change();
  }

  hold() {
    if (!this.isLive || !this.isPushToTalk || this.isHeld || !this.microphone) return;
    this.isHeld = true;
    this.#heldSamples = 0;
    this.microphone.begin();
    this.#interruptBy(this.conversation.userStarts());
    this.#change();
  }

  async release() {
    if (!this.isHeld) return;
    const at = performance.now();
    await this.microphone?.finish();
    if (!this.isHeld) return;
    this.isHeld = false;
    if (this.#heldSamples < SHORTEST_SAMPLES) {
      this.line.say({ type: "input_audio_buffer.clear" });
      this.conversation.userGivesUp();
      this.#tell("That was too short. Hold the button, or the space bar, for as long as you speak.", "info");
    } else {
      this.line.say({ type: "input_audio_buffer.commit" });
      this.line.say({ type: "response.create" });
      this.conversation.userStops(at);
    }
    this.#change();
  }

  type(text) {
    const id = `msg_${crypto.getRandomValues(new Uint32Array(3)).join("")}`.slice(0, 32);
    this.#interruptBy(this.conversation.typed(id, text, performance.now()));
    const content = [{ type: "input_text", text }];
    this.line.say({ type: "conversation.item.create", item: { id, type: "message", role: "user", content } });
    this.line.say({ type: "response.create" });
    this.#change();
  }

  end() {
    this.line?.end();
  }

  use(Transport) {
    this.Transport = Transport;
    if (this.isLive) this.line.use(Transport);
  }

  /** Speak and hear in another codec, from the next conversation on. */
  useNext(Codec) {
    this.NextCodec = Codec;
    if (!this.isLive) this.Codec = Codec;
    this.#change();
  }

  /** After the browser has taken the sound away. To be called from a click. */
  wake() {
    void this.#context?.resume();
  }

  get isSoundAsleep() {
    return this.isLive && this.#context !== null && this.#context.state !== "running" && this.player !== null;
  }

  // ---- what is heard ---------------------------------------------------------------------------------------------------

  #heard(event) {
    for (const effect of this.conversation.hear(event, performance.now())) {
      if (effect.do === "play") this.#play(effect);
      else if (effect.do === "flush") void this.#flush();
      else this.#tell(effect.sentence, "error");
    }
    this.#change();
  }

  #play({ item, part, did, base64, frame }) {
    this.#parts.set(item, part);
    if (frame) {
      this.#decoder ??= new OpusDecoder({
        onSamples: (of, samples) => this.#decoded(of, samples),
        onFull: () => this.#tell(FULL, "error"),
        onBroken: () => this.#tell("This browser cannot decode the answer. Start again with the sound as PCM.", "error"),
      });
      this.#decoder.decode(frame);
      return;
    }
    if (!this.#joiners.has(item)) this.#joiners.set(item, new Joiner());
    this.#push(item, did, this.#joiners.get(item).join(decode(base64)));
  }

  #push(item, did, samples) {
    if (this.player) this.player.push(item, did, samples);
    else this.#early.push([item, did, samples]);
  }

  #decoded({ item, did }, samples) {
    this.#push(item, did, samples);
    if (this.player && !this.player.isPlaying && !this.#decoder.isBusy) {
      this.conversation.drained(); // it was the end of what has been heard, and nothing of it is heard
      this.#change();
    }
  }

  /** The user interrupts without the model's knowledge: it is told to stop. */
  #interruptBy(effects) {
    if (!effects.length) return;
    this.line.say({ type: "response.cancel", event_id: `${QUIET}cancel` });
    void this.#flush();
  }

  /** Silence at once; and the model is told how much was heard. */
  async #flush() {
    this.#early = [];
    this.#decoder?.reset();
    const cut = (await this.player?.clear()) ?? [];
    for (const { item, ms } of cut) {
      const part = this.#parts.get(item) ?? 0;
      this.line.say({
        type: "conversation.item.truncate",
        event_id: `${QUIET}truncate`,
        item_id: item,
        content_index: part,
        audio_end_ms: ms,
      });
      this.#joiners.delete(item);
    }
    this.#sendPlayed();
  }

  #reportPlayed({ item, did, ms }) {
    if (did === null) return;
    this.#played = { type: "parley.played", did, item_id: item, played_ms: ms };
    this.#playedTimer ??= setTimeout(() => this.#sendPlayed(), PLAYED_EVERY_MS);
  }

  #sendPlayed() {
    clearTimeout(this.#playedTimer);
    this.#playedTimer = null;
    if (this.#played !== null) this.line.mention(this.#played);
    this.#played = null;
  }

  #lost({ what }) {
    this.#tell(
      what === "said"
        ? "The connection was away for too long: some of what you said is lost. Say it again."
        : "Something the model said was lost on the way.",
      "error",
    );
  }

  // ---- the end ---------------------------------------------------------------------------------------------------------

  #stop() {
    this.microphone?.close();
    this.microphone = null;
    this.player?.close();
    this.player = null;
    this.#decoder?.reset();
    this.#decoder = null;
    this.isHeld = false;
    clearTimeout(this.#playedTimer);
    this.#playedTimer = null;
    this.#joiners.clear();
    this.#parts.clear();
    this.conversation.stops();
    const context = this.#context;
    this.#context = null;
    void context?.close();
    void this.#wakeLock?.release().catch(() => {});
    this.#wakeLock = null;
  }

  /** A phone that is only listened to must not fall asleep. */
  async #keepAwake() {
    try {
      this.#wakeLock = await navigator.wakeLock?.request("screen");
    } catch {
      this.#wakeLock = null; // it may: then the talk pauses with the screen
    }
  }

  #tell(sentence, kind) {
    this.dispatchEvent(new CustomEvent("tell", { detail: { sentence, kind } }));
  }

  #change() {
    this.dispatchEvent(new Event("change"));
  }
}
