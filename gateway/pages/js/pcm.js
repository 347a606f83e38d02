// PURE. PCM16 little-endian, 24 kHz, mono: to base64 and back, and into a WAV file.

export const SAMPLE_RATE = 24_000;

const SLICE = 0x8000; // what `String.fromCharCode` takes as arguments everywhere

/** Samples or bytes, as base64. */
export function encode(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += SLICE) text += String.fromCharCode(...bytes.subarray(at, at + SLICE));
  return btoa(text);
}

/** Base64 as bytes. */
export function decode(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** Bytes of any number, in any cut, as whole samples: half a sample waits for its other half. */
export class Joiner {
  #half = null;

  join(bytes) {
    const carried = this.#half === null ? 0 : 1;
    const whole = (bytes.length + carried) >> 1;
    const joined = new Uint8Array(whole * 2);
    if (carried && whole) joined[0] = this.#half;
    joined.set(bytes.subarray(0, whole * 2 - carried), carried);
    const rest = bytes.length + carried - whole * 2;
    if (whole) this.#half = rest ? bytes[bytes.length - 1] : null;
    else if (bytes.length) this.#half = bytes[0];
    return new Int16Array(joined.buffer);
  }
}

/** A sample between -1 and 1 as PCM16; what is louder is limited. */
export function toPcm16(sample) {
  const limited = Math.max(-1, Math.min(1, sample));
  return Math.round(limited < 0 ? limited * 0x8000 : limited * 0x7fff);
}

/** The 44 bytes before so many samples. */
export function wavHeader(samples) {
  const size = samples * 2;
  const header = new DataView(new ArrayBuffer(44));
  const put = (at, text) => [...text].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  put(0, "RIFF");
  header.setUint32(4, 36 + size, true);
  put(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // mono
  header.setUint32(24, SAMPLE_RATE, true);
  header.setUint32(28, SAMPLE_RATE * 2, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  put(36, "data");
  header.setUint32(40, size, true);
  return header.buffer;
}
