// The answers, heard: what arrives is queued, and how far it was really played is known at any time.
//
//   on "began"    {item}
//   on "played"   {item, did, ms}      at most every 40 ms
//   on "drained"  {}
//   on "full"     {}                   more has arrived than is kept; the rest is left out

import { SAMPLE_RATE } from "./pcm.js";

/** Ten minutes that wait to be heard. */
const MAX_QUEUED_SAMPLES = 10 * 60 * SAMPLE_RATE;

export class Player extends EventTarget {
  #node;
  #tape;
  #waiting = new Map(); // item → its samples that are not known to be heard, and how many are
  #queued = 0;
  #pushed = 0; // samples, ever
  #clears = 0;
  #clearing = new Map();

  /** What is heard goes to the tape, and to the speakers or another node. */
  static async open(context, tape, output = context.destination) {
    await context.audioWorklet.addModule(new URL("worklets/playback.js", import.meta.url));
    const player = new Player();
    player.#tape = tape;
    player.#node = new AudioWorkletNode(context, "parley-playback", { numberOfInputs: 0, outputChannelCount: [1] });
    player.analyser = new AnalyserNode(context, { fftSize: 1024, smoothingTimeConstant: 0 });
    player.#node.connect(player.analyser).connect(output);
    player.#node.port.onmessage = ({ data }) => player.#told(data);
    return player;
  }

  isPlaying = false;
  samplesPlayed = 0;

  push(item, did, samples) {
    if (!samples.length) return;
    if (this.#queued + samples.length > MAX_QUEUED_SAMPLES) {
      this.#emit("full", {});
      return;
    }
    this.isPlaying = true;
    this.#queued += samples.length;
    this.#pushed += samples.length;
    if (!this.#waiting.has(item)) this.#waiting.set(item, { chunks: [], played: 0 });
    this.#waiting.get(item).chunks.push(samples);
    this.#node.port.postMessage({ type: "push", item, did, samples });
  }

  /** Silence at once. The items that were not heard to their end, and how many milliseconds of them were. */
  clear() {
    if (!this.isPlaying) return Promise.resolve([]);
    this.isPlaying = false;
    this.#queued = 0;
    const id = (this.#clears += 1);
    const items = [...this.#waiting.keys()]; // what is pushed from now on is not cleared
    this.#node.port.postMessage({ type: "clear", id });
    return new Promise((resolve) => this.#clearing.set(id, { items, resolve }));
  }

  close() {
    this.#node.port.postMessage({ type: "stop" });
    this.#node.disconnect();
  }

  #told(data) {
    switch (data.type) {
      case "began":
        for (const item of this.#waiting.keys()) {
          if (item === data.item) break;
          this.#waiting.delete(item); // it is over
        }
        this.#emit("began", { item: data.item });
        break;
      case "played":
        this.#heard(data.item, data.samples);
        this.#queued = data.queued;
        this.#emit("played", { item: data.item, did: data.did, ms: ms(data.samples) });
        break;
      case "drained":
        if (data.received !== this.#pushed) break; // there is more on its way there
        this.#queued = 0;
        this.isPlaying = false;
        this.#emit("drained", {});
        break;
      case "cleared": {
        const { items, resolve } = this.#clearing.get(data.id);
        this.#clearing.delete(data.id);
        for (const item of items) this.#waiting.delete(item);
        resolve(data.items.map(({ item, samples }) => ({ item, ms: ms(samples) })));
        break;
      }
    }
  }

  /** Of this item so many samples have been played: they go to the tape. */
  #heard(item, played) {
    const waiting = this.#waiting.get(item);
    if (waiting === undefined) return;
    this.samplesPlayed += played - waiting.played;
    for (let rest = played - waiting.played; rest > 0; ) {
      const [chunk, ...later] = waiting.chunks;
      const part = chunk.subarray(0, rest);
      this.#tape.add(part);
      rest -= part.length;
      waiting.chunks = part.length < chunk.length ? [chunk.subarray(part.length), ...later] : later;
    }
    waiting.played = played;
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

const ms = (samples) => Math.floor((samples * 1000) / SAMPLE_RATE);
