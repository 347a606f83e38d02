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
 * A way to record for the model. This one gives PCM16; another codec is another class with the same four names, and an
 * entry in CODECS.
 */
export class PcmMicrophone {
  static id = "pcm";
  static label = "PCM16, 24 kHz";
  #node;
  #source;
  #flushed = null;

  /** `onFrame(Int16Array)`; `onLost()` when the device goes away. */
  static async open(context, stream, { onFrame, onLost }) {
    await context.audioWorklet.addModule(new URL("worklets/capture.js", import.meta.url));
    const microphone = new PcmMicrophone();
    microphone.stream = stream;
    microphone.#source = context.createMediaStreamSource(stream);
    microphone.analyser = new AnalyserNode(context, { fftSize: 1024, smoothingTimeConstant: 0 });
    microphone.#node = new AudioWorkletNode(context, "parley-capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    microphone.#node.port.onmessage = ({ data }) => {
      if (data.type === "frame") onFrame(data.samples);
      else microphone.#flushed?.();
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

  /** Wait until all that was recorded so far has been given. */
  flush() {
    return new Promise((resolve) => {
      this.#flushed = resolve;
      this.#node.port.postMessage({ type: "flush" });
    });
  }

  close() {
    this.#node.port.postMessage({ type: "stop" });
    this.#source.disconnect();
    for (const track of this.stream.getTracks()) track.stop();
  }
}

export const CODECS = [PcmMicrophone];
