// The operators' API. Keys are sent in a header, and stay in this tab.

import { root } from "./admission.js";
import { EventParser } from "./sse.js";

/** A key is wanted, or another one. The message is for the operator. */
export class KeyWanted extends Error {}

/** What the server refused, in its own sentence. */
export class Refused extends Error {}

/** One of the two keys. */
export class Key {
  #name;

  constructor(name) {
    this.#name = `parley.${name}`;
  }

  get value() {
    return sessionStorage.getItem(this.#name) ?? "";
  }

  set value(key) {
    if (key) sessionStorage.setItem(this.#name, key);
    else sessionStorage.removeItem(this.#name);
  }

  get headers() {
    return this.value ? { Authorization: `Bearer ${this.value}` } : {};
  }
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  return body?.error ?? `The server answers ${response.status}.`;
}

/** The answer's JSON. Raises KeyWanted, Refused, TypeError: the server is not there. */
export async function ask(key, path, body) {
  const response = await fetch(new URL(`admin/api/${path}`, root()), {
    method: body === undefined ? "GET" : "POST",
    headers: key.headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    signal: AbortSignal.timeout(10_000),
  });
  if (response.status === 401) throw new KeyWanted(await refusal(response));
  if (!response.ok) throw new Refused(await refusal(response));
  return response.json();
}

/** What happens in a session, entry by entry, until it is over or the signal says so. Raises as `ask` does. */
export async function* entries(key, id, listens, signal) {
  const url = new URL(`admin/api/sessions/${encodeURIComponent(id)}/events`, root());
  if (listens) url.search = "?audio=1&words=1";
  const response = await fetch(url, { headers: key.headers, cache: "no-store", signal });
  if (response.status === 401 || response.status === 403) throw new KeyWanted(await refusal(response));
  if (!response.ok) throw new Refused(await refusal(response));
  const parser = new EventParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      for (const { type, data } of parser.feed(value)) {
        if (type === "over") return;
        if (type === "entry") yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
