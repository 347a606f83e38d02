// The user's voice: what the browser gives, as frames of 40 ms. Raises MicrophoneRefused with a sentence for the user.

export class MicrophoneRefused extends Error {}

const CONSTRAINTS = {
  audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
};

/** Why a microphone cannot be asked for here; null when it can. */
export function obstacle() {
  if (!window.isSecureContext) {
    return (
      "This page came over plain HTTP from another machine, and browsers give the microphone to https:// and localhost " +
      "only. Open it over https://, or on the machine itself. You can still type."
    );
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    return "This browser gives web pages no microphone. You can still type.";
  }
  if (!("AudioWorkletNode" in window)) {
    return "This browser has no AudioWorklet, which carries the sound here. Update it to speak and listen. You can still type.";
  }
  return null;
}

/** Ask for the microphone. Raises MicrophoneRefused. */
export async function getMicrophone(constraints = CONSTRAINTS) {
  const reason = obstacle();
  if (reason !== null) throw new MicrophoneRefused(reason);
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw new MicrophoneRefused(sentence(error));
  }
}

function sentence({ name }) {
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The microphone was refused. Allow it for this page in the browser’s address bar, and try again. You can still type.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "There is no microphone. Plug one in, and try again. You can still type.";
    case "NotReadableError":
    case "AbortError":
      return "Another program holds the microphone. Close it there, and try again. You can still type.";
    default:
      return "The microphone cannot be used. Try again, or type.";
  }
}

/**
 * A way to speak to the model and to hear it. This one is PCM16 both ways; another codec is another class with the same
 * names, and an entry in CODECS. `query` is what the server is asked for when a conversation is opened.
 */
export class PcmMicrophone {
  static id = "pcm";
  static label = "PCM";
  static description = "PCM16, 24 kHz";
  static query = {};
  static isSupported = () => true;
  isOn = false;
  #begins = 0;
  #node;
  #source;
  #flushed = null;

  /**
   * `onChunk(Uint8Array)`, the next bytes for the model; `onFrame(Int16Array)`, what was heard, as samples at 24 kHz;
   * `onLost()` when the device goes away. It gives nothing before `begin`.
   */
  static async open(context, stream, { onChunk = () => {}, onFrame, onLost }) {
    await context.audioWorklet.addModule(new URL("worklets/capture.js", import.meta.url));
    const microphone = new PcmMicrophone();
    microphone.stream = stream;
    microphone.#source = context.createMediaStreamSource(stream);
    microphone.analyser = new AnalyserNode(context, { fftSize: 1024, smoothingTimeConstant: 0 });
    microphone.#node = new AudioWorkletNode(context, "parley-capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    microphone.#node.port.onmessage = ({ data }) => {
      if (data.type === "flushed") {
        microphone.#flushed?.();
      } else if (microphone.isOn) {
        onChunk(new Uint8Array(data.samples.buffer));
        onFrame(data.samples);
      }
    };
    microphone.#source.connect(microphone.analyser);
    microphone.#source.connect(microphone.#node);
    for (const track of stream.getTracks()) track.addEventListener("ended", onLost);
    return microphone;
  }

  /** Silence instead of the voice: it goes on being sent, so that the model hears the end of what was said. */
  set isMuted(isMuted) {
    for (const track of this.stream.getTracks()) track.enabled = !isMuted;
  }

  /** From now on what is heard is given. */
  begin() {
    this.#begins += 1;
    this.isOn = true;
  }

  /** Give the rest of what was heard so far, and then nothing until it begins again. */
  async finish() {
    const begins = this.#begins;
    await new Promise((resolve) => {
      this.#flushed = resolve;
      this.#node.port.postMessage({ type: "flush" });
    });
    if (begins === this.#begins) this.isOn = false; // else it has begun again meanwhile
  }

  close() {
    this.#node.port.postMessage({ type: "stop" });
    this.#source.disconnect();
    for (const track of this.stream.getTracks()) track.stop();
  }
}

const WEBM = "audio/webm;codecs=opus";
const CHUNK_MS = 100;
const BIT_RATE = 24_000;

/**
 * Opus both ways: up the chunks of a MediaRecorder, down packets for `OpusDecoder`. The samples of `onFrame` are recorded
 * beside it. From `begin` to `finish` it is one recording, with a header of its own; its bytes must not be cut out of.
 */
export class OpusMicrophone {
  static id = "opus";
  static label = "Opus";
  static description = "Opus, 24 kbit/s";
  static query = { input: "stream", audio: "opus", bitrate: String(BIT_RATE) };
  static isSupported = () => "AudioDecoder" in window && "MediaRecorder" in window && MediaRecorder.isTypeSupported(WEBM);
  #pcm;
  #onChunk;
  #recorder = null;
  #given = Promise.resolve(); // when all chunks so far have been given

  static async open(context, stream, { onChunk, onFrame, onLost }) {
    const microphone = new OpusMicrophone();
    microphone.#onChunk = onChunk;
    microphone.#pcm = await PcmMicrophone.open(context, stream, { onFrame, onLost });
    return microphone;
  }

  get analyser() {
    return this.#pcm.analyser;
  }

  get isOn() {
    return this.#recorder !== null;
  }

  set isMuted(isMuted) {
    this.#pcm.isMuted = isMuted;
  }

  begin() {
    if (this.isOn) return;
    this.#pcm.begin();
    const recorder = new MediaRecorder(this.#pcm.stream, { mimeType: WEBM, audioBitsPerSecond: BIT_RATE });
    this.#recorder = recorder;
    recorder.ondataavailable = ({ data }) => {
      const bytes = data.arrayBuffer();
      this.#given = this.#given.then(async () => this.#onChunk(new Uint8Array(await bytes)));
    };
    recorder.start(CHUNK_MS);
  }

  async finish() {
    const recorder = this.#recorder;
    if (recorder === null) return;
    this.#recorder = null;
    const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
    const isRecording = recorder.state !== "inactive"; // it stops by itself when its device is gone
    if (isRecording) recorder.stop();
    await Promise.all([isRecording && stopped, this.#pcm.finish()]);
    await this.#given;
  }

  close() {
    if (this.#recorder?.state === "recording") this.#recorder.stop();
    this.#recorder = null;
    this.#pcm.close();
  }
}

/** All ways there are, the one that every browser has first. */
export const CODECS = [PcmMicrophone, OpusMicrophone];
