// PURE. A frame of the server's with packets of an answer, taken apart.

const HEAD_BYTES = 29;
const VERSION = 1;
const TAIL = 1;

/**
 * As an event: {type: "parley.audio", item, part, did, isTail, position, samples, padding, packets: [Uint8Array]}.
 * `position`: where in the part what the first packet decodes to begins, below 0: not to be heard. `samples`: what each
 * packet decodes to. `padding`: at the end of a tail, not to be heard. All three in samples at 24 kHz. Raises RangeError.
 */
export function readFrame(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint8(0) !== VERSION) throw new RangeError("This is no frame of version 1.");
  const nameBytes = view.getUint8(28);
  const packets = [];
  for (let at = HEAD_BYTES + nameBytes; at < bytes.length; ) {
    const size = view.getUint16(at);
    packets.push(bytes.subarray(at + 2, at + 2 + size));
    at += 2 + size;
  }
  return {
    type: "parley.audio",
    item: new TextDecoder().decode(bytes.subarray(HEAD_BYTES, HEAD_BYTES + nameBytes)),
    part: view.getUint16(2),
    did: `${view.getBigUint64(4)}-${view.getBigUint64(12)}`,
    isTail: (view.getUint8(1) & TAIL) !== 0,
    position: view.getInt32(20),
    samples: view.getUint16(24),
    padding: view.getUint16(26),
    packets,
  };
}
