export type Listener = {
  /** One whole answer, as the URI of a WAV file. */
  onAnswer(uri: string): void;
  onText(text: string): void;
  /** A sentence for the user, that says what to do. */
  onError(sentence: string): void;
  onState(state: "up" | "waiting" | "over"): void;
};

/** After each of these the line is dialled again; then no more. */
const WAITS_MS = [2_000, 4_000, 6_000, 8_000, 10_000];

/** Close codes that say: not again. 4400 to 4499 say it, too. */
const FINAL = [1000, 1008, 1009, 1011];

/** One user's session, over as many connections as it takes. */
export class Parley {
  private socket: WebSocket | null = null;
  private unsent: string[] = [];
  private tries = 0;
  private isOver = false;

  constructor(
    private readonly server: string, // wss://parley.example
    private readonly user: string, // names the session: a redial with it finds the same one
    private readonly listener: Listener,
    private readonly token: string | null = null,
    private readonly waitsMs: readonly number[] = WAITS_MS,
  ) {}

  dial(): void {
    const token = this.token === null ? "" : `&token=${encodeURIComponent(this.token)}`;
    const url = `${this.server}/ws-mobile/${encodeURIComponent(this.user)}?audio_format=wav${token}`;
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.onopen = () => {
      this.listener.onState("up");
      for (const message of this.unsent.splice(0)) socket.send(message);
    };
    socket.onmessage = (event) => {
      this.tries = 0;
      this.hear(JSON.parse(event.data as string));
    };
    socket.onclose = (event) => this.closed(event.code);
  }

  /** A whole recording: M4A, 3GP, WebM, whatever the phone makes. It is a turn, and interrupts what is being said. */
  say(recordingBase64: string): void {
    const message = JSON.stringify({ type: "audio", audio: recordingBase64 });
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(message);
    else this.unsent.push(message);
  }

  close(): void {
    this.isOver = true;
    this.socket?.close();
  }

  private hear(message: { type: string; audio?: string; text?: string; error?: string }): void {
    switch (message.type) {
      case "audio_response":
        this.listener.onAnswer(`data:audio/wav;base64,${message.audio}`);
        break;
      case "text_response":
        this.listener.onText(message.text ?? "");
        break;
      case "error":
        this.listener.onError(message.error ?? "");
    }
  }

  private closed(code: number): void {
    this.socket = null;
    const isFinal = FINAL.includes(code) || (code >= 4400 && code < 4500);
    if (this.isOver || isFinal || this.tries === this.waitsMs.length) return this.listener.onState("over");
    this.listener.onState("waiting");
    setTimeout(() => this.isOver || this.dial(), this.waitsMs[this.tries++]);
  }
}
