// The fields above the list: search, sort, filters.
import { isVolume, type Column } from "./columns.js";
import { button, h, select } from "./dom.js";
import { OPERATORS, type Filter, type Operator, type Order } from "./filter.js";

const SUGGESTED = 50; // values of a column that are offered

export interface Wanted {
  readonly search: string;
  readonly filters: readonly Filter[];
  readonly order: Order;
}

export class Finder {
  readonly element: HTMLElement;
  #columns: readonly Column[] = [];
  #wanted: Wanted;
  readonly #patients: number;
  readonly #change: (wanted: Wanted) => void;
  readonly #search = h("input", { type: "search", placeholder: "Find a patient", "aria-label": "find a patient" });
  readonly #sort = h("select", { "aria-label": "sort by" });
  readonly #turn: HTMLButtonElement;
  readonly #chips = h("div", { class: "chips" });
  readonly #column = h("select", { "aria-label": "filter: column" });
  readonly #operator: HTMLSelectElement;
  readonly #value = h("input", { type: "text", "aria-label": "filter: value", placeholder: "value", list: "npczarr-values" });
  readonly #values = h("datalist", { id: "npczarr-values" });

  constructor(wanted: Wanted, patients: number, change: (wanted: Wanted) => void) {
    this.#wanted = wanted;
    this.#patients = patients;
    this.#change = change;
    this.#search.value = wanted.search;
    this.#search.addEventListener("input", () => this.#set({ search: this.#search.value }));
    this.#sort.addEventListener("change", () =>
      this.#set({ order: { column: this.#sort.value, descending: isVolume({ name: this.#sort.value }) } }),
    );
    this.#turn = button("↑", "turn the order round", () => {
      const { column, descending } = this.#wanted.order;
      this.#set({ order: { column, descending: !descending } });
    });
    this.#column.addEventListener("change", () => this.#suggest());
    this.#operator = select("filter: comparison", OPERATORS.map((one) => [one, one] as const), () => undefined);
    const form = h(
      "form",
      { class: "new-filter", onsubmit: (event: SubmitEvent) => this.#add(event) },
      this.#column, this.#operator, this.#value, this.#values, h("button", { type: "submit" }, "Add"),
    );
    this.element = h(
      "div", { class: "finder" },
      this.#search,
      h("div", { class: "sorting" }, h("span", {}, "Sort"), this.#sort, this.#turn),
      h("details", {}, h("summary", {}, "Filter"), form),
      this.#chips,
    );
    this.#draw();
  }

  /** Offer these columns; more come as tables are read. */
  offer(columns: readonly Column[]): void {
    this.#columns = columns;
    const chosen = this.#column.value;
    const options = (): HTMLOptionElement[] => columns.map(({ name, title, meaning }) => h("option", { value: name, title: meaning }, title));
    this.#sort.replaceChildren(h("option", { value: "" }, "patient"), ...options());
    this.#column.replaceChildren(...options());
    if (columns.some(({ name }) => name === chosen)) this.#column.value = chosen;
    this.#draw();
    this.#suggest();
  }

  focus(): void {
    this.#search.focus();
  }

  #set(change: Partial<Wanted>): void {
    this.#wanted = { ...this.#wanted, ...change };
    this.#draw();
    this.#change(this.#wanted);
  }

  #add(event: SubmitEvent): void {
    event.preventDefault();
    const filter = { column: this.#column.value, operator: this.#operator.value as Operator, value: this.#value.value };
    if (!filter.column || (!filter.value && !filter.operator.includes("known"))) return;
    this.#value.value = "";
    this.#set({ filters: [...this.#wanted.filters, filter] });
  }

  #draw(): void {
    const { order, filters } = this.#wanted;
    this.#sort.value = order.column;
    this.#turn.textContent = order.descending ? "↓" : "↑";
    this.#chips.replaceChildren(
      ...filters.map((filter) => {
        const title = this.#columns.find(({ name }) => name === filter.column)?.title ?? filter.column.replaceAll("_", " ");
        const text = `${title} ${filter.operator} ${filter.value}`.trim();
        const without = (): void => this.#set({ filters: this.#wanted.filters.filter((one) => one !== filter) });
        return h("span", { class: "chip" }, text, button("×", `remove the filter ${text}`, without));
      }),
    );
  }

  #suggest(): void {
    const column = this.#columns.find(({ name }) => name === this.#column.value);
    const found = new Set<string>();
    if (column && !column.numeric)
      for (let i = 0; i < this.#patients && found.size < SUGGESTED; i++) for (const value of column.values(i)) found.add(String(value));
    this.#values.replaceChildren(...[...found].sort().map((value) => h("option", { value })));
    if (column) this.#operator.value = column.numeric ? "≥" : "is";
  }
}
