// The recorder page: what MediaRecorder makes, sent chunk by chunk over `/ws`, which keeps it in a file.
//
// A line that breaks is dialled again, and the recording goes on as a new one: its MediaRecorder has to start anew, because
// only a first chunk has the header without which no player can read the rest.

import { Admission, NotAllowed, root, TokenWanted } from "./admission.js";
import { delay } from "./backoff.js";
import { getMicrophone, MicrophoneRefused } from "./microphone.js";
import { Notices } from "./notices.js";
import { Waveform } from "./waveform.js";

const $ = (id) => document.getElementById(id);

const KINDS = ["audio/webm;codecs=opus", "audio/webm", "audio/mp4", ""];
const LINES = { idle: "Not connected", dialling: "Connecting …", up: "Connected", waiting: "Connection lost" };
const LOG_LINES = 500;
/** Unsent bytes of a line that takes nothing any more. */
const MAX_UNSENT_BYTES = 4 << 20;
const HELD_MS = 5_000;

const admission = new Admission();
const notices = new Notices($("notices"));
const wave = new Waveform($("wave"));

let socket = null;
let state = "idle";
let attempt = 0;
let upSince = 0;
let redialTimer = null;
let isWanted = false; // the user wants to be connected
let recording = null; // {recorder, stream, context, analyser, startedAt}

// ---- the line ---------------------------------------------------------------------------------------------------------

function set(next) {
  state = next;
  render();
}

async function dial() {
  clearTimeout(redialTimer);
  attempt += 1;
  set("dialling");
  let ticket = null;
  const hadToken = admission.token !== "";
  try {
    ticket = await admission.ticket();
  } catch (error) {
    if (error instanceof TokenWanted && hadToken) {
      $("token-form").hidden = false;
      return refused(error.message);
    }
    if (error instanceof NotAllowed) return refused(error.message);
    // Without a token it is worth a try: this door may let in whoever comes. If it does not, it closes with 1008.
    if (!(error instanceof TokenWanted)) return lost();
  }
  if (!isWanted) return;
  $("token-form").hidden = true;
  const url = new URL("ws", root());
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (ticket !== null) url.searchParams.set("ticket", ticket);
  const mine = new WebSocket(url);
  socket = mine;
  mine.binaryType = "arraybuffer";
  mine.onopen = () => {
    upSince = performance.now();
    set("up");
    notices.clear("info");
    if (recording !== null) begin();
  };
  mine.onmessage = ({ data }) => heard(String(data));
  mine.onclose = ({ code, reason }) => {
    if (socket !== mine) return;
    log("note", `closed (${code}${reason ? `: ${reason}` : ""})`);
    if (code === 1008) {
      $("token-form").hidden = false;
      refused("The server asks for a token. Enter yours.");
    } else {
      lost();
    }
  };
}

function refused(sentence) {
  notices.tell(sentence);
  disconnect();
}

function lost() {
  socket = null;
  if (recording?.recorder) halt();
  if (!isWanted) return;
  if (performance.now() - upSince > HELD_MS) attempt = Math.min(attempt, 1);
  const wait = delay(attempt + 1);
  notices.tell(
    recording
      ? "The connection was lost. What had arrived is kept; the recording goes on as a new file when the line is back."
      : "The connection was lost. It is dialled again by itself.",
    "info",
  );
  redialTimer = setTimeout(dial, wait);
  set("waiting");
}

function connect() {
  isWanted = true;
  attempt = 0;
  notices.clear();
  void dial();
}

function disconnect() {
  isWanted = false;
  clearTimeout(redialTimer);
  if (recording) stopMicrophone();
  const old = socket;
  socket = null;
  old?.close(1000);
  set("idle");
}

function heard(text) {
  log("down", text);
  if (text.startsWith("✅") || text.startsWith("No audio data")) $("saved").textContent = text;
  if (text.startsWith("Error: ")) notices.tell(text.slice("Error: ".length));
}

function send(data) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  if (socket.bufferedAmount > MAX_UNSENT_BYTES) {
    socket.close(4000, "the line takes nothing");
    return;
  }
  socket.send(data);
  log("up", typeof data === "string" ? data : `${data.byteLength} bytes`);
}

// ---- the recording ----------------------------------------------------------------------------------------------------

async function record() {
  notices.clear("error");
  let stream;
  try {
    stream = await getMicrophone();
  } catch (error) {
    if (!(error instanceof MicrophoneRefused)) throw error;
    notices.tell(error.message.replace(" You can still type.", ""));
    return;
  }
  if (state !== "up") {
    for (const track of stream.getTracks()) track.stop();
    return;
  }
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 1024, smoothingTimeConstant: 0 });
  context.createMediaStreamSource(stream).connect(analyser);
  recording = { recorder: null, stream, context, analyser, startedAt: 0 };
  for (const track of stream.getTracks()) {
    track.addEventListener("ended", () => {
      if (recording?.stream !== stream) return;
      notices.tell("The microphone is gone. What was recorded is saved.");
      stop();
    });
  }
  begin();
}

/** A new file, from the header on. */
function begin() {
  const mimeType = KINDS.find((kind) => kind === "" || MediaRecorder.isTypeSupported(kind));
  const recorder = new MediaRecorder(recording.stream, mimeType ? { mimeType } : {});
  const line = socket;
  let chain = Promise.resolve(); // a chunk is read before the one behind it is sent
  recorder.ondataavailable = ({ data }) => {
    if (!data.size) return;
    chain = chain.then(async () => {
      const bytes = await data.arrayBuffer();
      if (socket === line) send(bytes);
    });
  };
  recorder.onstop = () => {
    chain.then(() => {
      if (socket === line) send("STOP_RECORDING");
    });
  };
  recording.recorder = recorder;
  recording.startedAt = performance.now();
  send("START_RECORDING");
  recorder.start(Math.min(10_000, Math.max(50, Number($("interval").value) || 250)));
  render();
}

/** The line is gone: this recorder's last chunks have nowhere to go. */
function halt() {
  const { recorder } = recording;
  recording.recorder = null;
  recorder.ondataavailable = recorder.onstop = null;
  if (recorder.state !== "inactive") recorder.stop();
}

function stop() {
  const { recorder } = recording;
  if (recorder && recorder.state !== "inactive") recorder.stop();
  stopMicrophone();
  render();
}

function stopMicrophone() {
  const { stream, context } = recording;
  recording = null;
  for (const track of stream.getTracks()) track.stop();
  void context.close();
}

// ---- what is shown ----------------------------------------------------------------------------------------------------

function render() {
  document.body.dataset.line = state;
  $("line-text").textContent = LINES[state];
  $("connect").textContent = isWanted ? "Disconnect" : "Connect";
  $("record").disabled = state !== "up" && recording === null;
  $("record").textContent = recording ? "Stop recording" : "Start recording";
  $("record").classList.toggle("stop", recording !== null);
  $("interval").disabled = recording !== null;
  $("timer").dataset.on = String(recording?.recorder != null);
}

function log(kind, text) {
  const list = $("log");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString([], { hour12: false });
  const said = document.createElement("span");
  said.className = kind;
  said.textContent = text;
  line.append(time, said);
  list.append(line);
  while (list.children.length > LOG_LINES) list.firstChild.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

function draw(now) {
  wave.draw(recording?.analyser, now);
  if (recording?.recorder) {
    const tenths = Math.floor((now - recording.startedAt) / 100);
    const seconds = Math.floor(tenths / 10);
    $("timer").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}.${Math.max(0, tenths) % 10}`;
  }
  requestAnimationFrame(draw);
}

$("connect").addEventListener("click", () => (isWanted ? disconnect() : connect()));
$("record").addEventListener("click", () => (recording ? stop() : void record()));
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  admission.token = $("token").value.trim();
  $("token").value = "";
  connect();
});
window.addEventListener("online", () => state === "waiting" && dial());
render();
requestAnimationFrame(draw);

/** For tests: the line breaks. */
window.parley = {
  cut: () => socket?.close(4000, "cut"),
  get isRecording() {
    return recording?.recorder?.state === "recording";
  },
};
