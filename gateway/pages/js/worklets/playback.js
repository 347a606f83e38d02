// The answers' samples, one after the other, and how many of which item have really been played.
//
// in    {type: "push", item, did, samples: Int16Array}   {type: "clear", id}   {type: "stop"}
// out   {type: "played", item, did, samples, queued}     every 40 ms while it plays; samples: of this item, so far
//       {type: "began", item}                            its first sample is played
//       {type: "drained", received}                      nothing is left of the samples that were pushed so far
//       {type: "cleared", id, items: [{item, samples}]}  what was not played to its end, and how far it came

const SAMPLE_RATE = 24_000;
const FADE_SAMPLES = 120; // 5 ms: a cut without a click
const REPORT_SAMPLES = 960;

class Playback extends AudioWorkletProcessor {
  #queue = []; // {item, did, samples}
  #at = 0; // in the first of them
  #queued = 0; // samples
  #received = 0;
  #played = new Map(); // item → samples; of items that are not over
  #item = null;
  #did = null; // of what was played to its end last
  #sinceReport = 0;
  #last = 0; // the last sample that was played, for the fade
  #fade = 0;
  #step = SAMPLE_RATE / sampleRate;
  #phase = 0;
  #isOn = true;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data.type === "push") {
        this.#queue.push(data);
        this.#queued += data.samples.length;
        this.#received += data.samples.length;
      } else if (data.type === "clear") {
        this.#clear(data.id);
      } else if (data.type === "stop") {
        this.#isOn = false;
      }
    };
  }

  process(_inputs, [channels]) {
    const output = channels[0];
    const wasPlaying = this.#queue.length > 0;
    for (let i = 0; i < output.length; i += 1) output[i] = this.#next();
    for (let channel = 1; channel < channels.length; channel += 1) channels[channel].set(output);
    if (wasPlaying) {
      this.#sinceReport += output.length * this.#step;
      if (this.#sinceReport >= REPORT_SAMPLES || !this.#queue.length) this.#report();
      if (!this.#queue.length) this.port.postMessage({ type: "drained", received: this.#received });
    }
    return this.#isOn;
  }

  /** The next sample, at this context's rate. Between samples of ours it is a straight line. */
  #next() {
    if (!this.#queue.length) {
      if (this.#fade > 0) {
        this.#fade -= 1;
        return (this.#last * this.#fade) / FADE_SAMPLES;
      }
      return 0;
    }
    const head = this.#queue[0];
    if (this.#at === 0 && this.#phase < 1) this.#begin(head.item);
    const here = head.samples[this.#at] ?? 0;
    const there = head.samples[this.#at + 1] ?? this.#queue[1]?.samples[0] ?? here;
    this.#last = (here + (there - here) * this.#phase) / 0x8000;
    this.#phase += this.#step;
    while (this.#phase >= 1 && this.#queue.length) this.#advance();
    if (!this.#queue.length) this.#phase = 0;
    return this.#last;
  }

  #begin(item) {
    if (item === this.#item && this.#played.has(item)) return;
    this.#report();
    if (this.#item !== null && this.#item !== item) this.#played.delete(this.#item);
    this.#item = item;
    if (!this.#played.has(item)) {
      this.#played.set(item, 0);
      this.port.postMessage({ type: "began", item });
    }
  }

  #advance() {
    this.#phase -= 1;
    const head = this.#queue[0];
    this.#at += 1;
    this.#queued -= 1;
    this.#played.set(head.item, (this.#played.get(head.item) ?? 0) + 1);
    if (this.#at >= head.samples.length) {
      this.#did = head.did;
      this.#queue.shift();
      this.#at = 0;
      if (this.#queue.length && this.#queue[0].item !== head.item) this.#begin(this.#queue[0].item);
    }
  }

  #report() {
    this.#sinceReport = 0;
    if (this.#item === null) return;
    const samples = this.#played.get(this.#item) ?? 0;
    this.port.postMessage({ type: "played", item: this.#item, did: this.#did, samples, queued: this.#queued });
  }

  #clear(id) {
    this.#report();
    const items = new Map();
    for (const { item } of this.#queue) items.set(item, this.#played.get(item) ?? 0);
    this.#queue = [];
    this.#at = this.#queued = this.#phase = 0;
    if (items.size) this.#fade = FADE_SAMPLES;
    this.port.postMessage({
      type: "cleared",
      id,
      items: [...items].map(([item, samples]) => ({ item, samples })),
    });
  }
}

registerProcessor("parley-playback", Playback);
