// The package `@openai/agents`, unmodified: an agent with a tool, typed to, spoken to and interrupted, and taken up again.
//
// Asserts by itself. Says `cut` on its standard output when its network is to break.

import assert from "node:assert/strict";
import { once } from "node:events";
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

const first = begin();
let named = "";
first.transport.on("session.created", ({ session }) => (named = session.id));
await first.connect({ apiKey: "sk-any", url });

first.sendMessage("What is the weather in Bonn?");
await once(first, "agent_tool_end");
assert.deepEqual(asked, ["Bonn"]);
const [{ data }] = await once(first, "audio");
assert.ok(data.byteLength);
await once(first, "audio_stopped");

first.sendMessage("Tell me a long story.");
await once(first, "audio");
first.sendAudio(speech(0.4));
await once(first, "audio_interrupted");
first.sendAudio(silence(0.8));
await once(first.transport, "response.created");
await once(first, "audio_stopped");

const gone = new Promise((resolve) => {
  first.transport.on("connection_change", (status) => status === "disconnected" && resolve());
});
console.log("cut");
await gone;

const second = begin();
const goesOn = once(second.transport, "session.created");
await second.connect({ apiKey: "sk-any", url: `${url}&session=${named}` });
assert.equal((await goesOn)[0].session.id, named);
second.sendMessage("Where were we?");
await once(second, "audio_stopped");
second.close();
