// The microphone's samples as PCM16 frames of 40 ms at 24 kHz. "flush" gives what there is of the last one.

import { toPcm16 } from "../pcm.js";
import { Resampler } from "../resampler.js";

const SAMPLE_RATE = 24_000;
const FRAME_SAMPLES = 960;

class Capture extends AudioWorkletProcessor {
  #resampler = new Resampler(sampleRate, SAMPLE_RATE);
  #frame = new Int16Array(FRAME_SAMPLES);
  #filled = 0;
  #isOn = true;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data.type === "flush") {
        this.#send(this.#frame.slice(0, this.#filled));
        this.#filled = 0;
        this.port.postMessage({ type: "flushed" });
      } else if (data.type === "stop") {
        this.#isOn = false;
      }
    };
  }

  process([[samples]]) {
    if (samples !== undefined) for (const sample of this.#resampler.process(samples)) this.#take(sample);
    return this.#isOn;
  }

  #take(sample) {
    this.#frame[this.#filled++] = toPcm16(sample);
    if (this.#filled === FRAME_SAMPLES) {
      this.#send(this.#frame);
      this.#frame = new Int16Array(FRAME_SAMPLES);
      this.#filled = 0;
    }
  }

  #send(frame) {
    if (frame.length) this.port.postMessage({ type: "frame", samples: frame }, [frame.buffer]);
  }
}

registerProcessor("parley-capture", Capture);
