// PURE. A microphone's rate to 24 kHz, where a browser does not do it by itself. A windowed sinc, its phase kept across
// blocks.

const HALF_TAPS = 24;

export class Resampler {
  #step;
  #cutoff;
  #past = new Float32Array(2 * HALF_TAPS);
  #position = HALF_TAPS; // of the next output, in `#past` and what follows it
  #kernel = new Float32Array(2 * HALF_TAPS);
  #fraction = null; // for which the kernel is; where the rates divide there is only one

  constructor(from, to) {
    this.#step = from / to;
    this.#cutoff = Math.min(1, to / from) * 0.94;
  }

  /** How many outputs come before the one that lies at the first sample. */
  get delay() {
    return this.#step === 1 ? 0 : HALF_TAPS / this.#step;
  }

  /** A block of floats, resampled. Some 1 ms late: `delay` outputs, and as long before the last sample it holds back. */
  process(block) {
    if (this.#step === 1) return block;
    const input = new Float32Array(this.#past.length + block.length);
    input.set(this.#past);
    input.set(block, this.#past.length);
    const last = input.length - HALF_TAPS;
    const output = new Float32Array(Math.max(0, Math.ceil((last - this.#position) / this.#step)));
    let made = 0;
    for (; this.#position < last && made < output.length; this.#position += this.#step) {
      output[made++] = this.#at(input, this.#position);
    }
    const keep = 2 * HALF_TAPS;
    this.#position -= input.length - keep;
    this.#past = input.slice(input.length - keep);
    return output.subarray(0, made);
  }

  #at(input, position) {
    const centre = Math.floor(position);
    if (position - centre !== this.#fraction) this.#tune(position - centre);
    const first = centre - HALF_TAPS + 1;
    let sum = 0;
    for (let tap = 0; tap < 2 * HALF_TAPS; tap += 1) sum += (input[first + tap] ?? 0) * this.#kernel[tap];
    return sum;
  }

  #tune(fraction) {
    this.#fraction = fraction;
    for (let tap = 0; tap < 2 * HALF_TAPS; tap += 1) {
      const x = fraction + HALF_TAPS - 1 - tap;
      const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / HALF_TAPS);
      const angle = Math.PI * x * this.#cutoff;
      this.#kernel[tap] = window * this.#cutoff * (angle === 0 ? 1 : Math.sin(angle) / angle);
    }
  }
}
