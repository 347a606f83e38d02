// What was said on one side, kept for a download. Full pieces become blobs, which a browser may keep on disk.

import { SAMPLE_RATE, wavHeader } from "./pcm.js";

const PIECE_SAMPLES = 30 * SAMPLE_RATE;
export const MAX_SAMPLES = 60 * 60 * SAMPLE_RATE;

export class Tape {
  #blobs = [];
  #chunks = [];
  #loose = 0;

  constructor() {
    this.samples = 0;
  }

  get seconds() {
    return this.samples / SAMPLE_RATE;
  }

  /** Past an hour the tape is full, and takes no more. */
  add(samples) {
    if (!samples.length || this.samples + samples.length > MAX_SAMPLES) return;
    this.#chunks.push(samples);
    this.#loose += samples.length;
    this.samples += samples.length;
    if (this.#loose >= PIECE_SAMPLES) {
      this.#blobs.push(new Blob(this.#chunks));
      this.#chunks = [];
      this.#loose = 0;
    }
  }

  wav() {
    return new Blob([wavHeader(this.samples), ...this.#blobs, ...this.#chunks], { type: "audio/wav" });
  }
}
