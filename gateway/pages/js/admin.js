// The operators' page: who talks, how it goes, and what may be done about it.

import { Ear } from "./ear.js";
import { Notices } from "./notices.js";
import { ask, entries, Key, KeyWanted } from "./operator.js";

const $ = (id) => document.getElementById(id);

const EVERY_MS = 2_000;
const MAX_SHOWN = 500;
const LOG_LINES = 300;
/** Entries that wait, from which on a session is behind: half a second up, two seconds down. */
const LATE = { up: 5, down: 20 };
const LINES = { idle: "Not signed in", dialling: "Asking …", up: "Live", waiting: "The server does not answer" };

const operator = new Key("admin");
const listener = new Key("listen");
const notices = new Notices($("notices"));

let pages = 1; // how many of the sessions are shown
let timer = null;
let asking = 0; // which question is the newest
let watched = null; // {id, abort, ear}

// ---- what there is -----------------------------------------------------------------------------------------------------

function line(name) {
  document.body.dataset.line = name;
  $("line-text").textContent = LINES[name];
}

async function refresh() {
  clearTimeout(timer);
  const mine = (asking += 1);
  try {
    const [sessions, { gateways }] = await Promise.all([listed(), ask(operator, "gateways")]);
    if (mine !== asking) return;
    showSessions(sessions);
    showGateways(gateways);
    $("main").hidden = false;
    $("key-form").hidden = true;
    line("up");
  } catch (error) {
    if (mine !== asking) return;
    if (error instanceof KeyWanted) return signOut(error.message);
    line(error.name === "Refused" ? "idle" : "waiting");
    if (!(error instanceof TypeError) && error.name !== "TimeoutError") notices.tell(error.message);
  }
  timer = setTimeout(refresh, EVERY_MS);
}

async function listed() {
  const user = $("user").value.trim();
  if (user) return ask(operator, `sessions?user=${encodeURIComponent(user)}`);
  const all = { sessions: [], total: 0, next: null };
  for (let page = 0; page < pages; page += 1) {
    const before = all.next ? `&before=${encodeURIComponent(all.next)}` : "";
    const { sessions, total, next } = await ask(operator, `sessions?limit=50${before}`);
    Object.assign(all, { sessions: [...all.sessions, ...sessions], total, next });
    if (!next) break;
  }
  return all;
}

function signOut(sentence) {
  if (operator.value) notices.tell(sentence);
  operator.value = "";
  $("main").hidden = true;
  $("key-form").hidden = false;
  $("key").focus();
  close();
  line("idle");
}

// ---- tables ------------------------------------------------------------------------------------------------------------

function cell(content, className = "") {
  const td = document.createElement("td");
  td.className = className;
  td.append(...[content].flat());
  return td;
}

function element(tag, text, more = {}) {
  const made = Object.assign(document.createElement(tag), { textContent: text });
  for (const [name, value] of Object.entries(more)) made.setAttribute(name, value);
  return made;
}

function button(text, label, act) {
  const made = element("button", text, { type: "button", class: "quiet", "aria-label": label });
  made.addEventListener("click", act);
  return made;
}

/** Rows keep their place and their focus while what stands in them changes. */
function fill(body, items, keyOf, cellsOf) {
  const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  for (const [place, item] of items.entries()) {
    const key = keyOf(item);
    const row = rows.get(key) ?? document.createElement("tr");
    rows.delete(key);
    row.dataset.key = key;
    const cells = cellsOf(item);
    if (row.cells.length) {
      const last = row.cells.length - 1; // the buttons are the same
      for (let i = 0; i < last; i += 1) row.cells[i].replaceWith(cells[i]);
      if (row.cells[last].textContent !== cells[last].textContent) row.cells[last].replaceWith(cells[last]);
    } else {
      row.append(...cells);
    }
    if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
  }
  for (const row of rows.values()) row.remove();
}

function showSessions({ sessions, total, next }) {
  $("count").textContent = total;
  $("empty").hidden = sessions.length > 0;
  $("more").hidden = !next || sessions.length >= MAX_SHOWN;
  fill($("sessions"), sessions, ({ id }) => id, sessionCells);
  for (const row of $("sessions").rows) row.setAttribute("aria-current", String(row.dataset.key === watched?.id));
}

function sessionCells(session) {
  const { id, user, door, input, output, state, uplink_waiting: up, downlink_waiting: down } = session;
  const waits = [
    element("span", `↑ ${up}`, up > LATE.up ? { class: "late" } : {}),
    " ",
    element("span", `↓ ${down}`, down > LATE.down ? { class: "late" } : {}),
  ];
  const who = user || "anonymous";
  return [
    cell(element("span", who, { title: `${who}, ${id}` })),
    cell(door),
    cell(input === output ? input : `${input} → ${output}`),
    cell(element("span", state, { class: "mark", "data-state": state })),
    cell(waits, "number-cell"),
    cell(session.latency_ms === null ? "–" : `${session.latency_ms} ms`, "number-cell"),
    cell(money(session), "number-cell"),
    cell(age(session.created_ms), "number-cell"),
    cell(session.gateway ?? "–"),
    cell([button("Watch", `Watch the session of ${who}`, () => watch(session)), button("End", `End the session of ${who}`, () => end(session))], "acts"),
  ];
}

function money({ usd, unpriced }) {
  const shown = `$${Number(usd).toFixed(4)}`;
  return unpriced ? `${shown} +` : shown; // some of it has no price
}

function age(since) {
  const seconds = Math.max(0, Math.round((Date.now() - since) / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function showGateways(gateways) {
  fill($("gateways"), gateways, ({ name }) => name, (each) => {
    const state = each.draining ? "draining" : "taking";
    const act = each.draining
      ? button("Take clients", `Let ${each.name} take clients again`, () => drain(each, false))
      : button("Drain", `Send the clients of ${each.name} to others`, () => drain(each, true));
    return [
      cell(each.name),
      cell(String(each.connections), "number-cell"),
      cell(age(each.since_ms), "number-cell"),
      cell(element("span", each.draining ? "takes none" : "takes clients", { class: "mark", "data-state": state })),
      cell([act], "acts"),
    ];
  });
}

// ---- what may be done --------------------------------------------------------------------------------------------------

function confirmed(sentence, word) {
  const dialog = $("ask");
  $("ask-text").textContent = sentence;
  $("ask-yes").textContent = word;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function act(path, body) {
  try {
    await ask(operator, path, body);
  } catch (error) {
    notices.tell(error instanceof TypeError ? "The server does not answer. Try again." : error.message);
  }
  await refresh();
}

async function end({ id, user }) {
  if (!(await confirmed(`End the session of ${user || "anonymous"}? Its client is told, and what is said now is cut off.`, "End it"))) return;
  await act(`sessions/${id}/end`, {});
}

async function drain({ name, connections }, wanted) {
  const sentence = `Send the ${connections} clients of ${name} to other gateways? It takes none until you say so. Without another gateway they cannot talk.`;
  if (wanted && !(await confirmed(sentence, "Drain it"))) return;
  await act(`gateways/${encodeURIComponent(name)}`, { drain: wanted });
}

// ---- one session -------------------------------------------------------------------------------------------------------

function watch({ id, user }) {
  close();
  $("detail").hidden = false;
  $("detail-title").textContent = `Session of ${user || "anonymous"}`;
  $("detail-id").textContent = id;
  $("log").replaceChildren();
  follow(id, operator, null);
  $("detail").scrollIntoView({ block: "nearest" });
}

async function follow(id, key, ear) {
  const mine = { id, ear, abort: new AbortController() };
  watched = mine;
  try {
    for await (const entry of entries(key, id, ear !== null, mine.abort.signal)) {
      if (watched !== mine) return;
      ear?.take(entry);
      note(entry);
    }
    if (watched === mine) log("note", "It is over.");
  } catch (error) {
    if (watched !== mine || error.name === "AbortError") return;
    if (ear) deafen();
    if (error instanceof KeyWanted && ear) listener.value = "";
    notices.tell(error instanceof TypeError ? "The line to the server broke. Press Watch again." : error.message);
  }
}

async function listen() {
  const { id } = watched;
  let ear;
  try {
    ear = await Ear.open({ user: $("wave-user"), model: $("wave-model") });
  } catch {
    return notices.tell("This browser plays no sound for this page.");
  }
  if (watched?.id !== id) return ear.close();
  watched.abort.abort();
  notices.clear();
  $("ear").hidden = false;
  $("listen-form").hidden = true;
  follow(id, listener, ear);
}

function deafen() {
  watched?.ear?.close();
  $("ear").hidden = true;
  $("listen-form").hidden = false;
  $("mute").setAttribute("aria-pressed", "false");
}

function close() {
  watched?.abort.abort();
  deafen();
  watched = null;
  $("detail").hidden = true;
}

let soundRow = null; // sound comes ten times a second: it has one line a voice, and goes on there

function note(entry) {
  const { side, kind } = entry;
  if (kind === "audio") {
    if (soundRow?.side !== side) soundRow = { side, ms: 0, row: log(side === "user" ? "up" : "down", "") };
    soundRow.ms += entry.ms;
    soundRow.row.lastChild.textContent = `${(soundRow.ms / 1000).toFixed(1)} s of sound`;
    return;
  }
  if (entry.type?.endsWith(".delta") && !entry.event) return; // a word that is not shown, as often as sound comes
  soundRow = null;
  log(side === "user" ? "up" : "down", sentence(entry));
}

function sentence({ side, id, kind, type, event, ...more }) {
  const words = event?.transcript ?? event?.delta ?? more.text;
  const rest = Object.entries(more).filter(([, value]) => typeof value !== "object" && value !== "");
  const said = words === undefined ? rest.map(([name, value]) => `${name} ${value}`).join(", ") : `“${words}”`;
  return [type ?? kind, said].filter(Boolean).join(" · ");
}

function log(className, text) {
  const list = $("log");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const row = element("li", "", { class: className });
  row.append(element("time", new Date().toLocaleTimeString()), element("span", text));
  list.append(row);
  while (list.children.length > LOG_LINES) list.firstChild.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
  return row;
}

// ---- the buttons -------------------------------------------------------------------------------------------------------

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  operator.value = $("key").value.trim();
  $("key").value = "";
  notices.clear();
  line("dialling");
  refresh();
});
$("listen-form").addEventListener("submit", (event) => {
  event.preventDefault();
  listener.value = $("listen-key").value.trim();
  $("listen-key").value = "";
  listen();
});
$("find").addEventListener("submit", (event) => event.preventDefault());
$("user").addEventListener("input", refresh);
$("more").addEventListener("click", () => {
  pages += 1;
  refresh();
});
$("close").addEventListener("click", close);
$("mute").addEventListener("click", () => {
  const isMuted = $("mute").getAttribute("aria-pressed") !== "true";
  $("mute").setAttribute("aria-pressed", String(isMuted));
  watched.ear.muted = isMuted;
});
$("deaf").addEventListener("click", () => {
  const { id } = watched;
  watched.abort.abort();
  deafen();
  follow(id, operator, null);
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer); // nobody looks: nothing is asked
  else if (operator.value) refresh();
});

window.parleyAdmin = { played: () => watched?.ear?.samplesPlayed ?? 0 };

if (operator.value) refresh();
else signOut("");
