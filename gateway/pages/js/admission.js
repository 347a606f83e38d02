// Who we are, to a server that asks. The token stays in this tab; what goes into an address is a ticket for one dial.

const KEY = "parley.token";

/** The server wants a token, or another one. The message is for the user. */
export class TokenWanted extends Error {}

/** The server lets nobody in from this page. The message is for the user. */
export class NotAllowed extends Error {}

export class Admission {
  #isOpen = false; // the server has no use for tickets

  /** `#token=…` in the address is taken, and removed from it before anybody can see or copy it. */
  constructor() {
    const found = new URLSearchParams(location.hash.slice(1)).get("token");
    if (found) {
      this.token = found;
      history.replaceState(null, "", location.pathname + location.search);
    }
  }

  get token() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  set token(token) {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  }

  /** For a POST. */
  get headers() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  /** A ticket for one dial, or null where none is needed. Raises TokenWanted, NotAllowed, TypeError: it is not there. */
  async ticket() {
    if (this.#isOpen) return null;
    const { token } = this;
    const response = await fetch(new URL("v1/tickets", root()), {
      method: "POST",
      headers: this.headers,
      cache: "no-store",
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status === 403) throw new NotAllowed("This server lets nobody in from this address. Open its own page.");
    if (response.status === 401) {
      if (this.token === token) this.token = ""; // else another one was entered meanwhile
      throw new TokenWanted(
        token
          ? "The server does not accept this token, or it has expired. Enter another one."
          : "This server asks for a token. Enter yours.",
      );
    }
    if (response.status === 429 || response.status >= 500) {
      throw new TypeError(`the server answers ${response.status}`);
    }
    if (!response.ok) {
      this.#isOpen = response.status === 404 || response.status === 405;
      return null;
    }
    const body = await response.json().catch(() => ({}));
    return typeof body?.ticket === "string" ? body.ticket : null;
  }
}

/** Where this server's paths begin, also behind a proxy that gives it a folder. */
export function root() {
  return new URL("../../", import.meta.url);
}
