const page = new URLSearchParams(location.search);
const SERVER = page.get("server") ?? "http://127.0.0.1:8000";
const KEYS = page.get("keys"); // where your own server gives out client secrets; nothing where Parley wants no token

const show = (id, text) => (document.getElementById(id).textContent = text);

// ---- hear: PCM16 at 24 kHz, one piece behind the other

let context;
let end = 0; // when the last piece will have been heard, on the context's clock
const playing = new Set();

function play(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const samples = Float32Array.from(new Int16Array(bytes.buffer), (sample) => sample / 32_768);
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: 24_000 });
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.onended = () => playing.delete(source);
  end = Math.max(end, context.currentTime + 0.05);
  source.start(end);
  end += buffer.duration;
  playing.add(source);
}

function hush() {
  for (const source of playing) source.stop();
  end = 0;
}

// ---- talk: what a MediaRecorder makes, as it makes it

function record(microphone, line) {
  const recorder = new MediaRecorder(microphone);
  recorder.ondataavailable = ({ data }) => {
    if (data.size && line.readyState === WebSocket.OPEN) line.send(data);
  };
  recorder.start(100); // a chunk each 100 ms
  return recorder;
}

// ---- the line, dialled again when it breaks

const FINAL = [1000, 1008, 1009, 1011, 3000, 4000]; // and 4400 to 4499: dialling again is of no use
let session = null;
let tries = 0;

async function key() {
  const answer = await fetch(KEYS);
  if (!answer.ok) throw new Error(`${KEYS} answers ${answer.status}`);
  return `openai-insecure-api-key.${await answer.text()}`;
}

function again(microphone, why) {
  show("state", why);
  setTimeout(() => dial(microphone), Math.min(8_000, 200 * 2 ** tries++));
}

async function dial(microphone) {
  const query = new URLSearchParams({ model: "any", input: "stream", barge_in: "server" });
  if (session) query.set("session", session);
  const protocols = ["realtime"];
  try {
    if (KEYS) protocols.push(await key());
  } catch (error) {
    return again(microphone, error.message);
  }
  const line = new WebSocket(`${SERVER.replace("http", "ws")}/v1/realtime?${query}`, protocols);
  let recorder = null;
  line.onopen = () => {
    show("state", session ? "connected again" : "connected");
    recorder = record(microphone, line); // a new one for each line: only its first chunk has the header
  };
  line.onmessage = ({ data }) => {
    tries = 0;
    hear(JSON.parse(data));
  };
  line.onclose = ({ code, reason }) => {
    recorder?.stop();
    if (FINAL.includes(code) || (code >= 4400 && code < 4500)) return show("state", `over: ${code} ${reason}`);
    const unopened = `no answer from ${SERVER}: does it run, and does its PARLEY_ORIGINS name ${location.origin}?`;
    again(microphone, recorder ? "the line broke" : unopened);
  };
}

function hear(event) {
  switch (event.type) {
    case "session.created":
      session = event.session.id;
      break;
    case "input_audio_buffer.speech_started": // the user speaks: be silent at once, Parley tells the model
      hush();
      break;
    case "response.output_audio.delta":
      play(event.delta);
      break;
    case "response.output_audio_transcript.done":
      document.getElementById("words").append(`${event.transcript}\n`);
      break;
    case "error":
      show("state", event.error.message);
  }
}

// Browsers give sound to nobody who was not clicked on.
document.getElementById("talk").onclick = async () => {
  context = new AudioContext();
  try {
    await dial(await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true } }));
  } catch (error) {
    show("state", error.message); // no microphone, or none is given to this page
  }
};
