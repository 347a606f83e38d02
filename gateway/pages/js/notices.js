// Sentences for the user, on the page, each until it is dismissed.

const SHOWN = 3;

export class Notices {
  #list;

  constructor(list) {
    this.#list = list;
  }

  tell(sentence, kind = "error") {
    for (const notice of [...this.#list.children]) if (notice.dataset.sentence === sentence) notice.remove();
    const notice = document.createElement("div");
    notice.className = `notice ${kind}`;
    notice.dataset.sentence = sentence;
    const text = document.createElement("p");
    text.textContent = sentence;
    const close = document.createElement("button");
    Object.assign(close, { type: "button", className: "close", textContent: "×" });
    close.setAttribute("aria-label", "Dismiss");
    close.addEventListener("click", () => notice.remove());
    notice.append(text, close);
    this.#list.append(notice);
    while (this.#list.children.length > SHOWN) this.#list.firstChild.remove();
  }

  /** Those of one kind, or all. */
  clear(kind) {
    for (const notice of [...this.#list.children]) if (!kind || notice.classList.contains(kind)) notice.remove();
  }
}
