// The package `openai`, unmodified: text, speech, a tool, an interruption, and a redial that resumes.
//
//   node openai.mjs ws|websocket     over the package `ws`, or over a WebSocket as browsers have it, which can send no header
//
// Asserts by itself. Says `cut` on its standard output when its network is to break.

import assert from "node:assert/strict";
import { OpenAI } from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { WebSocket } from "ws";

import { base64, silence, speech } from "./sound.mjs";

const WEATHER = {
  type: "function",
  name: "weather",
  description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

const Line = process.argv[2] === "ws" ? OpenAIRealtimeWS : OpenAIRealtimeWebSocket;
globalThis.WebSocket ??= WebSocket; // of Node.js below 22
const client = new OpenAI({ apiKey: "sk-any", baseURL: process.env.BASE_URL });

let session = "";
const line = new Line(
  {
    model: "gpt-realtime",
    reconnect: true,
    reconnectInitialDelay: 1,
    buildRealtimeURL: ({ baseURL }) => `${baseURL.replace("http", "ws")}/realtime?model=gpt-realtime&session=${session}`,
  },
  client,
);

const came = [];
let awake = () => {};
line.on("event", (event) => {
  came.push(event);
  awake();
});
line.on("error", (error) => {
  console.error(error);
  process.exit(1);
});

/** All events up to and with the one of this type. */
async function until(type) {
  const events = [];
  for (;;) {
    while (came.length) {
      events.push(came.shift());
      if (events.at(-1).type === type) return events;
    }
    await new Promise((resolve) => (awake = resolve));
  }
}

const update = (fields) => line.send({ type: "session.update", session: { type: "realtime", ...fields } });
const append = (sound) => line.send({ type: "input_audio_buffer.append", audio: base64(sound) });
const respond = () => line.send({ type: "response.create" });
const say = (text) =>
  line.send({
    type: "conversation.item.create",
    item: { type: "message", role: "user", content: [{ type: "input_text", text }] },
  });

session = (await until("session.created")).at(-1).session.id;

update({ output_modalities: ["text"] });
say("Good morning.");
respond();
const written = (await until("response.done")).filter(({ type }) => type === "response.output_text.done");
assert.equal(written.length, 1);
assert.ok(written[0].text);

update({ output_modalities: ["audio"], audio: { input: { turn_detection: null } }, tools: [WEATHER] });
append(speech(0.5));
line.send({ type: "input_audio_buffer.commit" });
respond();
const deltas = (await until("response.done")).filter(({ type }) => type === "response.output_audio.delta");
assert.ok(Buffer.concat(deltas.map(({ delta }) => Buffer.from(delta, "base64"))).equals(Buffer.from(speech(0.5))));

say("What is the weather in Bonn?");
respond();
const [call] = (await until("response.done")).at(-1).response.output;
assert.deepEqual([call.type, call.name, JSON.parse(call.arguments)], ["function_call", "weather", { city: "Bonn" }]);
const output = { type: "function_call_output", call_id: call.call_id, output: '{"sky":"clear"}' };
line.send({ type: "conversation.item.create", item: output });
respond();
assert.equal((await until("response.done")).at(-1).response.output[0].type, "message");

update({ audio: { input: { turn_detection: { type: "server_vad" } } } });
await until("session.updated");
respond();
const { item_id } = (await until("response.output_audio.delta")).at(-1);
append(speech(0.4));
await until("input_audio_buffer.speech_started");
line.send({ type: "conversation.item.truncate", item_id, content_index: 0, audio_end_ms: 120 });
const { response } = (await until("response.done")).at(-1);
assert.deepEqual([response.status, response.status_details.reason], ["cancelled", "turn_detected"]);
append(silence(0.8));
await until("response.done");

console.log("cut");
assert.equal((await until("session.created")).at(-1).session.id, session);
say("Where were we?");
line.flushPending();
respond();
await until("response.done");
line.close();
