// PURE. Server-Sent Events out of text as it arrives, cut anywhere.

export class EventParser {
  #rest = "";
  #event = { type: "", data: [], id: null };

  /** The events that this text completes: {type, data, id}. */
  feed(text) {
    const events = [];
    this.#rest += text;
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (this.#event.data.length) {
          events.push({ type: this.#event.type || "message", data: this.#event.data.join("\n"), id: this.#event.id });
        }
        this.#event = { type: "", data: [], id: null };
      } else if (!line.startsWith(":")) {
        this.#field(line);
      }
    }
    return events;
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event.type = value;
    else if (name === "data") this.#event.data.push(value);
    else if (name === "id") this.#event.id = value;
  }
}
