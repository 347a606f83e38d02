// The answers' Opus packets as PCM16 at 24 kHz, item by item and in order.
//
//   decode(frame)     a frame of `packets.js`
//   reset()           nothing of what came before is given any more
//   isBusy            whether there are frames whose samples were not given yet
//
//   onSamples({item, did}, Int16Array)   once for each frame; did: all up to it is decoded
//   onFull()                             more has come than is kept; the rest is left out
//   onBroken()                           this browser cannot decode what came; the rest of that part is left out

import { SAMPLE_RATE, toPcm16 } from "./pcm.js";
import { Resampler } from "./resampler.js";

const DECODED_RATE = 48_000;
/** Ten minutes, a tenth of a second each, that wait for the browser's decoder. */
const MAX_PENDING_FRAMES = 6_000;
const CONFIG = { codec: "opus", sampleRate: DECODED_RATE, numberOfChannels: 1 };

export class OpusDecoder {
  #handlers;
  #part = null;
  #work = Promise.resolve(); // parts end one after the other, each when its last packet is decoded
  #epoch = 0;
  #pending = 0;

  constructor(handlers) {
    this.#handlers = handlers;
  }

  get isBusy() {
    return this.#pending > 0;
  }

  decode(frame) {
    if (this.#pending >= MAX_PENDING_FRAMES) {
      this.#handlers.onFull();
      return;
    }
    const epoch = this.#epoch;
    this.#pending += 1;
    this.#work = this.#work.then(async () => {
      if (epoch !== this.#epoch) return;
      if (!this.#part?.takes(frame)) {
        await this.#part?.finish();
        if (epoch !== this.#epoch) return;
        this.#part = new Part(frame, {
          onSamples: (of, samples) => {
            if (epoch !== this.#epoch) return;
            this.#pending -= 1;
            this.#handlers.onSamples(of, samples);
          },
          onBroken: () => epoch === this.#epoch && this.#handlers.onBroken(),
        });
      }
      const part = this.#part;
      part.decode(frame);
      if (!frame.isTail) return;
      this.#part = null;
      await part.finish();
    });
  }

  reset() {
    this.#epoch += 1;
    this.#pending = 0;
    this.#part?.close();
    this.#part = null;
  }
}

/** What one encoder has made, from its first packet on. */
class Part {
  #handlers;
  #decoder;
  #resampler = new Resampler(DECODED_RATE, SAMPLE_RATE);
  #frames = []; // {item, did, end, isTail}: not given yet; end: the position behind what is heard of it
  #made = []; // floats at 24 kHz that are not given yet
  #position; // of the next sample that the resampler gives
  #next; // of the next packet
  #packets = 0;

  constructor({ item, part, position }, handlers) {
    this.#handlers = handlers;
    this.item = item;
    this.part = part;
    this.#next = position;
    this.#position = position - this.#resampler.delay;
    this.start = position;
    this.#decoder = new AudioDecoder({ output: (data) => this.#decoded(data), error: () => this.#broken() });
    this.#decoder.configure(CONFIG);
  }

  /** Whether this frame goes on where the last one ended. One may be without packets. */
  takes({ item, part, position, packets }) {
    return item === this.item && part === this.part && (position === this.#next || !packets.length);
  }

  decode({ did, samples, padding, isTail, packets }) {
    this.#next += samples * packets.length;
    this.#frames.push({ item: this.item, did, end: this.#next - padding, isTail });
    for (const data of packets) {
      const timestamp = Math.round((this.#packets * samples * 1e6) / SAMPLE_RATE);
      this.#packets += 1;
      if (this.#decoder.state === "configured") this.#decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data }));
    }
    if (!packets.length || this.#decoder.state !== "configured") this.#give();
  }

  /** Wait until all of it is given. */
  async finish() {
    try {
      await this.#decoder.flush();
    } catch {
      // it was closed, or what came is no Opus: there is no more
    }
    this.#resample(new Float32Array(this.#resampler.delay * 2));
    this.#give({ isAll: true });
    this.close();
  }

  close() {
    if (this.#decoder.state !== "closed") this.#decoder.close();
  }

  #broken() {
    this.#handlers.onBroken();
    this.#give(); // what there is: the decoder is closed
  }

  #decoded(data) {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    data.close();
    this.#resample(samples);
    this.#give();
  }

  #resample(samples) {
    for (const sample of this.#resampler.process(samples)) {
      if (this.#position >= 0 && this.#position >= this.start) this.#made.push(sample);
      this.#position += 1;
    }
  }

  /** What is decoded of a frame whose last packet is. The resampler holds the end of it back for the next one. */
  #give({ isAll = false } = {}) {
    while (this.#frames.length) {
      const [{ item, did, end, isTail }] = this.#frames;
      const heldBack = isTail ? 0 : this.#resampler.delay;
      if (!isAll && this.#position < end - heldBack && this.#decoder.state === "configured") return;
      this.#frames.shift();
      const first = this.#position - this.#made.length;
      const samples = this.#made.splice(0, Math.max(0, end - first));
      this.#handlers.onSamples({ item, did }, Int16Array.from(samples, toPcm16));
    }
  }
}
