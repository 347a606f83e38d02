// PURE. A microphone's rate to 24 kHz, where a browser does not do it by itself. A windowed sinc, its phase kept across
// blocks.

const HALF_TAPS = 24;

export class Resampler {
  #step;
  #cutoff;
  #past = new Float32Array(2 * HALF_TAPS);
  #position = HALF_TAPS; // of the next output, in `#past` and what follows it

  constructor(from, to) {
    this.#step = from / to;
    this.#cutoff = Math.min(1, to / from) * 0.94;
  }

  /** A block of floats, resampled. Some 1 ms late. */
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
    let sum = 0;
    for (let tap = centre - HALF_TAPS + 1; tap <= centre + HALF_TAPS; tap += 1) {
      const x = position - tap;
      const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / HALF_TAPS);
      const angle = Math.PI * x * this.#cutoff;
      sum += (input[tap] ?? 0) * window * this.#cutoff * (angle === 0 ? 1 : Math.sin(angle) / angle);
    }
    return sum;
  }
}
