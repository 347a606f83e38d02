// The package `@openai/agents`, unmodified: an agent with a tool, typed to, spoken to and interrupted, and taken up again.
//
// Asserts by itself. Says `cut` on its standard output when its network is to break.

import assert from "node:assert/strict";
import { RealtimeAgent, RealtimeSession, tool } from "@openai/agents/realtime";
import { z } from "zod";

import { silence, speech } from "./sound.mjs";

const url = `${process.env.BASE_URL.replace("http", "ws")}/realtime?model=gpt-realtime`;
const asked = [];
const weather = tool({
  name: "weather",
  description: "The weather in a city.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    asked.push(city);
    return `clear in ${city}`;
  },
});

function begin() {
  const agent = new RealtimeAgent({ name: "Ann", instructions: "Be brief.", tools: [weather] });
  const config = { audio: { input: { turnDetection: { type: "server_vad", interruptResponse: true } } } };
  const session = new RealtimeSession(agent, { transport: "websocket", config });
  session.on("error", ({ error }) => {
    console.error(error);
    process.exit(1);
  });
  return session;
}

/** All that is told, in order: several things may come in one packet, too quickly to listen for each when it is awaited. */
function following(session) {
  const came = [];
  let awake = () => {};
  const note = (emitter, kind) =>
    emitter.on(kind, (event) => {
      came.push({ kind, event });
      awake();
    });
  for (const kind of ["agent_tool_end", "audio", "audio_stopped", "audio_interrupted"]) note(session, kind);
  for (const kind of ["session.created", "response.created"]) note(session.transport, kind);
  return async function until(wanted) {
    for (;;) {
      while (came.length) {
        const { kind, event } = came.shift();
        if (kind === wanted) return event;
      }
      await new Promise((resolve) => (awake = resolve));
    }
  };
}

const first = begin();
const until = following(first);
await first.connect({ apiKey: "sk-any", url });
const named = (await until("session.created")).session.id;

first.sendMessage("What is the weather in Bonn?");
await until("agent_tool_end");
assert.deepEqual(asked, ["Bonn"]);
const { data } = await until("audio");
assert.ok(data.byteLength);
await until("audio_stopped");

first.sendMessage("Tell me a long story.");
await until("audio");
first.sendAudio(speech(0.4));
await until("audio_interrupted");
first.sendAudio(silence(0.8));
await until("response.created");
await until("audio_stopped");

const gone = new Promise((resolve) => {
  first.transport.on("connection_change", (status) => status === "disconnected" && resolve());
});
console.log("cut");
await gone;

const second = begin();
const untilSecond = following(second);
await second.connect({ apiKey: "sk-any", url: `${url}&session=${named}` });
assert.equal((await untilSecond("session.created")).session.id, named);
second.sendMessage("Where were we?");
await untilSecond("audio_stopped");
second.close();
