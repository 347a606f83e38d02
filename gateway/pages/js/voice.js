// The page on which a person talks to the model: what `Talk` knows, shown; what the person does, told to it.

import { Admission } from "./admission.js";
import { CODECS, obstacle } from "./microphone.js";
import { Notices } from "./notices.js";
import { Talk } from "./talk.js";
import { TRANSPORTS } from "./transport.js";
import { Waveform } from "./waveform.js";

const $ = (id) => document.getElementById(id);

const PHASES = {
  idle: "Ready when you are",
  connecting: "Connecting …",
  listening: "Listening",
  muted: "Microphone is off",
  typing: "Microphone is off",
  ready: "Hold to talk",
  hearing: "Hearing you",
  thinking: "Thinking",
  speaking: "Speaking",
  interrupted: "Interrupted – go on",
  reconnecting: "Reconnecting …",
  over: "Conversation ended",
  locked: "A token is needed",
};
const LINES = { idle: "Not connected", dialling: "Connecting …", up: "Connected", waiting: "Connection lost", over: "Not connected" };
const HINTS = {
  idle: "Your browser will ask for the microphone.",
  over: "The downloads stay until you start again.",
  locked: "Enter it above.",
  reconnecting: "What you say is kept and sent when the line is back.",
  free: "Just speak. You can interrupt at any time.",
  hold: "Hold the button or the space bar while you speak.",
  typing: "Write below, or turn it on. Answers are spoken all the same.",
  asleep: "The browser has paused the sound. Press the button to go on.",
};

const admission = new Admission();
const notices = new Notices($("notices"));
const stored = localStorage.getItem("parley.transport");
const talk = new Talk(admission, TRANSPORTS.find(({ id }) => id === stored) ?? TRANSPORTS[0]);
const codecs = CODECS.filter((Codec) => Codec.isSupported());
talk.useNext(codecs.find(({ id }) => id === localStorage.getItem("parley.codec")) ?? codecs[0]);
const waves = { you: new Waveform($("wave-you")), model: new Waveform($("wave-model")) };
const rows = new Map(); // item → its row in the transcript

// ---- what is shown ----------------------------------------------------------------------------------------------------

function phase() {
  const { state } = talk.lineState;
  if (!talk.isLive) {
    if (talk.lineState.needsToken) return "locked";
    return talk.line?.session ? "over" : "idle";
  }
  if (state === "waiting" || (state === "dialling" && talk.line.session)) return "reconnecting";
  if (state === "dialling") return "connecting";
  const { phase } = talk.conversation;
  if (phase !== "listening") return phase;
  if (!talk.microphone) return "typing";
  if (talk.isPushToTalk) return "ready";
  return talk.isMuted ? "muted" : "listening";
}

function hint(now) {
  if (talk.isSoundAsleep) return HINTS.asleep;
  if (HINTS[now]) return HINTS[now];
  if (!talk.microphone) return HINTS.typing;
  return talk.isPushToTalk ? HINTS.hold : HINTS.free;
}

function bigText() {
  if (!talk.isLive) return talk.line?.session ? "Start again" : "Start talking";
  if (talk.isSoundAsleep) return "Go on";
  if (!talk.microphone) return talk.isMicrophoneRefused ? "Try again" : "Turn on microphone";
  if (talk.isPushToTalk) return talk.isHeld ? "Let go to send" : "Hold to talk";
  return talk.isMuted ? "Unmute" : "Mute";
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let isShowing = false;
function show() {
  if (isShowing) return; // once a frame is enough, whatever comes
  isShowing = true;
  setTimeout(() => {
    isShowing = false;
    render();
  }, 16);
}

function render() {
  const now = phase();
  const { body } = document;
  body.dataset.phase = now;
  body.dataset.line = talk.lineState.state;
  put($("phase"), PHASES[now]);
  put($("hint"), hint(now));
  put($("codec"), talk.Codec.description);
  put($("codecs-legend"), talk.isLive ? "Sound (next conversation)" : "Sound");
  put($("big-text"), bigText());
  put($("line-text"), LINES[talk.lineState.state]);
  const isToggle = talk.isLive && talk.microphone && !talk.isPushToTalk;
  if (isToggle) $("big").setAttribute("aria-pressed", String(talk.isMuted));
  else $("big").removeAttribute("aria-pressed");
  $("end").hidden = !talk.isLive;
  const { latencyMs } = talk.conversation;
  put($("latency"), latencyMs === null ? "–" : `${(latencyMs / 1000).toFixed(2)} s`);
  $("token-form").hidden = !talk.lineState.needsToken;
  $("save-voice").disabled = talk.voice.samples === 0;
  $("save-answers").disabled = talk.answers.samples === 0;
  $("save-text").disabled = talk.conversation.transcript === "";
  renderTranscript();
}

function renderTranscript() {
  const list = $("transcript");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 48;
  const { items } = talk.conversation;
  const known = new Set(items);
  for (const [item, row] of rows) {
    if (known.has(item)) continue;
    row.remove();
    rows.delete(item);
  }
  items.forEach((item, i) => {
    if (!rows.has(item)) rows.set(item, makeRow(item));
    const row = rows.get(item);
    row.dataset.status = item.status;
    put(row.querySelector(".text"), item.text.trim() || without(item));
    if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null);
  });
  $("empty").hidden = items.length > 0;
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

const NAMES = { user: "You", assistant: "Parley", tool: "Tool" };

function makeRow({ role }) {
  const row = document.createElement("li");
  row.className = `row-${role}`;
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = NAMES[role] ?? role;
  const text = document.createElement("p");
  text.className = "text";
  row.append(name, text);
  return row;
}

/** What stands for speech that has no words, yet or at all. */
function without({ role, status, seconds }) {
  if (role === "user" && seconds) return `(spoken, ${seconds.toFixed(1)} s)`;
  if (status === "failed") return "(not understood)";
  return role === "user" ? "(speaking)" : "…";
}

function draw(now) {
  waves.you.draw(talk.microphone?.analyser, now);
  waves.model.draw(talk.player?.analyser, now);
  const { phase } = document.body.dataset;
  const level = phase === "speaking" ? waves.model.level : waves.you.level;
  $("halo").style.setProperty("--level", talk.isLive ? Math.min(1, Math.sqrt(level)).toFixed(3) : "0");
  requestAnimationFrame(draw);
}

// ---- what the person does ---------------------------------------------------------------------------------------------

let asked = { withMicrophone: true, text: null }; // what the last start was for

function start(withMicrophone, text = null) {
  asked = { withMicrophone, text };
  notices.clear();
  void talk.start({ withMicrophone });
  if (text !== null) talk.type(text);
}

function press() {
  if (!talk.isLive) start(true);
  else if (talk.isSoundAsleep) talk.wake();
  else if (!talk.microphone) void talk.useMicrophone();
  else if (!talk.isPushToTalk) talk.muted = !talk.isMuted;
}

const big = $("big");
big.addEventListener("click", press);
big.addEventListener("pointerdown", (event) => {
  if (!talk.isPushToTalk || !talk.microphone) return;
  big.setPointerCapture(event.pointerId);
  talk.hold();
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) big.addEventListener(name, () => void talk.release());
big.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press on a phone
window.addEventListener("blur", () => void talk.release());

/** Whether the space bar has a meaning of its own where the focus is. */
const takesSpace = (element) => element !== big && element.matches("input, textarea, button, select, a, summary");

document.addEventListener("keydown", (event) => {
  if (event.code !== "Space" || !talk.isPushToTalk || !talk.microphone || takesSpace(event.target)) return;
  event.preventDefault();
  if (!event.repeat) talk.hold();
});
document.addEventListener("keyup", (event) => {
  if (event.code !== "Space" || !talk.isPushToTalk || takesSpace(event.target)) return;
  if (talk.isHeld) event.preventDefault();
  void talk.release();
});

$("end").addEventListener("click", () => {
  talk.end();
  big.focus();
});
$("turns").addEventListener("change", ({ target }) => {
  talk.pushToTalk = target.value === "hold";
});
$("transports").addEventListener("change", ({ target }) => {
  localStorage.setItem("parley.transport", target.value);
  talk.use(TRANSPORTS.find(({ id }) => id === target.value));
});
$("codecs").addEventListener("change", ({ target }) => {
  localStorage.setItem("parley.codec", target.value);
  talk.useNext(codecs.find(({ id }) => id === target.value));
});
$("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  if (talk.isLive) talk.type(text);
  else start(false, text);
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  admission.token = $("token").value.trim();
  $("token").value = "";
  start(asked.withMicrophone, asked.text);
});

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$("save-voice").addEventListener("click", () => save("parley-your-voice.wav", talk.voice.wav()));
$("save-answers").addEventListener("click", () => save("parley-answers.wav", talk.answers.wav()));
$("save-text").addEventListener("click", () =>
  save("parley-transcript.txt", new Blob([talk.conversation.transcript], { type: "text/plain;charset=utf-8" })),
);
window.addEventListener("pagehide", ({ persisted }) => persisted || talk.end());

// ---- the beginning ----------------------------------------------------------------------------------------------------

function offer(fieldset, name, choices, chosen) {
  for (const { id, label } of choices) {
    const choice = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name, value: id });
    radio.checked = id === chosen.id;
    const text = document.createElement("span");
    text.textContent = label;
    choice.append(radio, text);
    fieldset.append(choice);
  }
}

offer($("transports"), "transport", TRANSPORTS, talk.Transport);
offer($("codecs"), "codec", codecs, talk.Codec);
$("codecs").hidden = codecs.length < 2;
talk.addEventListener("change", show);
talk.addEventListener("tell", ({ detail: { sentence, kind } }) => notices.tell(sentence, kind));
let lastSentence = null;
talk.addEventListener("change", () => {
  const { state, sentence, code } = talk.lineState;
  if (sentence && sentence !== lastSentence && code !== "ended") {
    notices.tell(sentence, state === "over" ? "error" : "info");
  }
  if (state === "up" && lastSentence !== null) notices.clear("info");
  lastSentence = state === "dialling" ? lastSentence : (sentence ?? null);
});
const reason = obstacle();
if (reason !== null) notices.tell(reason);
render();
requestAnimationFrame(draw);

/** For tests, and for the curious. */
window.parley = talk;
