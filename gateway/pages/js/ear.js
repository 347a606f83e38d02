// Both voices of a session, heard and drawn as they come. The model's is ahead of what is heard: it is played at its own
// pace, and cut where the user interrupted.

import { decode, Joiner, SAMPLE_RATE } from "./pcm.js";
import { Player } from "./player.js";
import { Waveform } from "./waveform.js";

const NO_TAPE = { add() {} }; // nothing is kept

export class Ear {
  #context;
  #sides = {}; // side → {player, wave, joiner}
  #loudness;
  #drawing = 0;

  /** Raises what an AudioContext raises. */
  static async open(canvases) {
    const ear = new Ear();
    const context = (ear.#context = new AudioContext({ sampleRate: SAMPLE_RATE }));
    await context.resume();
    ear.#loudness = new GainNode(context);
    ear.#loudness.connect(context.destination);
    for (const [side, canvas] of Object.entries(canvases)) {
      const player = await Player.open(context, NO_TAPE, ear.#loudness);
      ear.#sides[side] = { player, wave: new Waveform(canvas), joiner: new Joiner() };
    }
    ear.#draw();
    return ear;
  }

  get samplesPlayed() {
    return Object.values(this.#sides).reduce((sum, { player }) => sum + player.samplesPlayed, 0);
  }

  /** An entry of the session. */
  take({ side, kind, item, id, audio }) {
    const { player, joiner } = this.#sides[side];
    if (kind === "interrupted") player.clear();
    if (kind === "audio" && audio) player.push(item ?? side, id, joiner.join(decode(audio)));
  }

  set muted(isMuted) {
    this.#loudness.gain.value = isMuted ? 0 : 1;
  }

  close() {
    cancelAnimationFrame(this.#drawing);
    for (const { player } of Object.values(this.#sides)) player.close();
    this.#context.close();
  }

  #draw() {
    this.#drawing = requestAnimationFrame((now) => {
      for (const { player, wave } of Object.values(this.#sides)) wave.draw(player.analyser, now);
      this.#draw();
    });
  }
}
