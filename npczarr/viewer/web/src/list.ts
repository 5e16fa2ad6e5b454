// The list of patients: only the rows that are seen are in the page, so tens of thousands scroll without delay.
import { h } from "./dom.js";

const ROW = 34; // px, as in viewer.css
const BEYOND = 8; // rows above and below what is seen

export interface Row {
  readonly index: number;
  readonly label: string;
  readonly detail: string;
  readonly flag: string;
}

export class PatientList {
  readonly element: HTMLElement;
  readonly #space = h("div", { class: "space" });
  readonly #describe: (index: number) => Row;
  readonly #pick: (index: number) => void;
  #rows: readonly number[] = [];
  #selected = -1;

  constructor(describe: (index: number) => Row, pick: (index: number) => void) {
    this.#describe = describe;
    this.#pick = pick;
    this.element = h("div", { class: "patients", role: "listbox", tabindex: 0, "aria-label": "patients" }, this.#space);
    this.element.addEventListener("scroll", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  get rows(): readonly number[] {
    return this.#rows;
  }

  show(rows: readonly number[]): void {
    this.#rows = rows;
    this.#space.style.height = `${rows.length * ROW}px`;
    this.#draw();
  }

  /** Mark a patient, and scroll to it where it is not seen. */
  select(index: number): void {
    this.#selected = index;
    const at = this.#rows.indexOf(index);
    const { scrollTop, clientHeight } = this.element;
    if (at >= 0 && (at * ROW < scrollTop || (at + 1) * ROW > scrollTop + clientHeight))
      this.element.scrollTop = at * ROW - clientHeight / 2;
    this.#draw();
  }

  /** The patient some rows further; undefined at the end. */
  neighbor(steps: number): number | undefined {
    const at = this.#rows.indexOf(this.#selected);
    return at < 0 ? this.#rows[0] : this.#rows[at + steps];
  }

  #draw(): void {
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - BEYOND);
    const stop = Math.min(this.#rows.length, Math.ceil((scrollTop + clientHeight) / ROW) + BEYOND);
    const rows: HTMLElement[] = [];
    for (let at = first; at < stop; at++) rows.push(this.#row(at));
    this.#space.replaceChildren(...rows);
    const active = this.#rows.indexOf(this.#selected);
    if (active >= first && active < stop) this.element.setAttribute("aria-activedescendant", this.#id(active));
    else this.element.removeAttribute("aria-activedescendant");
  }

  #id(at: number): string {
    return `npczarr-row-${at}`;
  }

  #row(at: number): HTMLElement {
    const { index, label, detail, flag } = this.#describe(this.#rows[at]);
    const row = h(
      "div",
      {
        id: this.#id(at), class: "row", role: "option", "aria-selected": String(index === this.#selected),
        "aria-setsize": this.#rows.length, "aria-posinset": at + 1, onclick: () => this.#pick(index),
      },
      h("span", { class: "label" }, label),
      h("span", { class: "detail" }, detail),
      flag ? h("span", { class: "flag", title: flag }, "!") : null,
    );
    row.style.top = `${at * ROW}px`;
    return row;
  }
}
