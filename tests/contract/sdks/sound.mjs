// What turn detection takes for speech, and for silence: PCM16 at 24 kHz, as simulator/orders.py makes it.

const RATE = 24_000;

export function speech(seconds) {
  const samples = Int16Array.from({ length: seconds * RATE }, (_, n) => (Math.floor((2 * 150 * n) / RATE) % 2 ? -8192 : 8192));
  return samples.buffer;
}

export const silence = (seconds) => new ArrayBuffer(2 * seconds * RATE);

export const base64 = (buffer) => Buffer.from(buffer).toString("base64");
