// A voice, drawn as it sounds: one bar every 40 ms, moving to the left. Who prefers no motion gets a level that stands still.

const BAR_MS = 40;
const BAR_PX = 3;
const GAP_PX = 2;
const STILL_MS = 250;
const reduced = matchMedia("(prefers-reduced-motion: reduce)");

export class Waveform {
  #canvas;
  #bars = [];
  #samples = new Float32Array(1024);
  #nextAt = 0;
  #peak = 0;
  level = 0; // 0 to 1, now

  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** Take a look at the sound, and draw what is new. */
  draw(analyser, now) {
    let peak = 0;
    if (analyser) {
      analyser.getFloatTimeDomainData(this.#samples);
      for (const sample of this.#samples) peak = Math.max(peak, Math.abs(sample));
    }
    this.level = Math.max(peak, this.level * 0.85);
    this.#peak = Math.max(this.#peak, peak);
    if (now < this.#nextAt) return;
    this.#nextAt = now + (reduced.matches ? STILL_MS : BAR_MS);
    this.#bars.push(this.#peak);
    this.#peak = 0;
    this.#paint();
  }

  #paint() {
    const canvas = this.#canvas;
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    const step = (BAR_PX + GAP_PX) * scale;
    const count = Math.ceil(width / step);
    this.#bars.splice(0, Math.max(0, this.#bars.length - count));
    while (this.#bars.length < count) this.#bars.unshift(0);
    const bars = reduced.matches ? new Array(count).fill(this.#bars.at(-1)) : this.#bars;
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = getComputedStyle(canvas).color;
    bars.forEach((peak, i) => {
      const tall = Math.max(BAR_PX * scale, Math.min(1, peak ** 0.6 * 1.1) * height);
      const x = width - (bars.length - i) * step;
      pen.beginPath();
      pen.roundRect(x, (height - tall) / 2, BAR_PX * scale, tall, (BAR_PX * scale) / 2);
      pen.fill();
    });
  }
}
