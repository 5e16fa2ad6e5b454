// The page: a list of patients, and the panes of one.
import { columnsOf, isVolume, Results, type Column } from "./columns.js";
import { Cohort } from "./cohort.js";
import { MaskColors } from "./colors.js";
import { h } from "./dom.js";
import { facts } from "./facts.js";
import { listed } from "./filter.js";
import { Finder } from "./finder.js";
import { onKey } from "./keys.js";
import { PatientList, type Row } from "./list.js";
import { CountingObjects, type ObjectSource } from "./objects.js";
import type { Tool } from "./pane.js";
import { Patients, type Patient, type Series } from "./patient.js";
import { Predictions, type Predicted } from "./predictions.js";
import { Review, ReviewBar, reviewColumns, warningsColumn, type BarActions } from "./review.js";
import { digestSeen } from "./seen.js";
import { Stage, type View } from "./stage.js";
import { fromQuery, initial, normalized, toQuery, STATE_NAMES, type State } from "./state.js";
import { helpDialog, Toolbar, type ToolbarActions } from "./toolbar.js";
import { extent } from "./volume.js";
import { warnings } from "./warnings.js";
import { decided, isOpen, row } from "./worklist.js";

const NARROW = 900; // px, as in viewer.css: the list lies over the pictures

export interface ViewerOptions {
  readonly source: ObjectSource;
  /** Name of the store, for the title. */
  readonly name: string;
  readonly patient?: string;
  /** Whether the state is kept in the address of the page. */
  readonly address: boolean;
  /** Address at which marks of a review are kept; without it there is no review. */
  readonly review?: string;
  /** A model's masks that the server has. */
  readonly predictions?: Predicted;
}

export class Viewer implements View {
  readonly root: HTMLElement;
  readonly #objects: CountingObjects;
  readonly #options: ViewerOptions;
  readonly #patients: Patients;
  readonly #list: PatientList;
  readonly #finder: Finder;
  readonly #toolbar: Toolbar;
  readonly #banner = h("div", { class: "banner", role: "status" });
  readonly #stage: Stage;
  readonly #facts = h("section", { class: "about", "aria-label": "numbers" });
  readonly #count = h("p", { class: "count", role: "status" });
  readonly #help = helpDialog();
  readonly cohort: Cohort;
  readonly #review: Review | null;
  readonly #bar: ReviewBar | null;
  #columns = new Map<string, Column>();
  /** What the list says of each patient, and its title above the list. */
  #detail: Column | undefined;
  readonly #caption = h("span", { class: "caption" });
  #results: Results | null = null;
  #state: State;
  #patient: Patient | null = null;
  #style: "outline" | "fill" = "outline";
  #frame = 0;
  #addressTimer = 0;
  #turn = 0;
  /** The turn whose patient was drawn. */
  #drawnTurn = 0;
  /** Kept once the first picture was drawn, or cannot be. */
  #seen: Promise<void>;
  #wasSeen: () => void = () => undefined;

  private constructor(root: HTMLElement, cohort: Cohort, objects: CountingObjects, options: ViewerOptions, review: Review | null) {
    this.root = root;
    this.#review = review;
    this.#bar = review && new ReviewBar(review, this.#barActions());
    this.cohort = cohort;
    this.#objects = objects;
    this.#options = options;
    const predictions = options.predictions ? new Predictions(options.predictions) : null;
    this.#patients = new Patients(cohort, predictions);
    this.#seen = new Promise((resolve) => (this.#wasSeen = resolve));
    this.#state = options.address ? fromQuery(new URLSearchParams(location.search)) : initial();
    if (options.patient !== undefined) this.#state.patient = options.patient;
    this.#list = new PatientList((index) => this.#row(index), (index) => {
      if (this.root.clientWidth <= NARROW) this.root.dataset["list"] = "closed";
      void this.#open(index);
    });
    this.#finder = new Finder(this.#state, cohort.patients.length, (wanted) => {
      this.#state = { ...this.#state, ...wanted };
      this.#filter();
    });
    const masks = new MaskColors(cohort, predictions);
    this.#stage = new Stage(cohort, masks, this);
    this.#toolbar = new Toolbar(this.#actions(), masks.legend());
    this.#build();
  }

  /** Open a store in an element; what goes wrong is said there. */
  static async mount(root: HTMLElement, options: ViewerOptions): Promise<Viewer | null> {
    root.classList.add("npczarr");
    root.replaceChildren(h("p", { class: "opening", role: "status" }, "opening the store…"));
    const objects = new CountingObjects(options.source);
    try {
      const asked = options.review ? Review.open(options.review).catch((error: unknown) => error as Error) : null;
      const cohort = await Cohort.open(objects);
      const review = await asked;
      const failed = review instanceof Error ? [`There is no review: ${review.message}. Load the page again once that is mended.`] : [];
      const viewer = new Viewer(root, cohort, objects, options, review instanceof Error ? null : review);
      viewer.#lasting.push(...failed, ...(viewer.#review?.problems ?? []));
      await viewer.#start();
      return viewer;
    } catch (error) {
      root.replaceChildren(h("p", { class: "opening", role: "alert" }, `${options.name}: ${(error as Error).message}`));
      root.dataset["ready"] = "failed";
      return null;
    }
  }

  #build(): void {
    const side = h("nav", { class: "side", "aria-label": "patients" },
      h("p", { class: "store" }, this.#options.name), this.#finder.element,
      h("div", { class: "heading" }, this.#count, this.#caption), this.#list.element);
    const main = h("main", {}, this.#toolbar.element, this.#banner, this.#stage.element, ...(this.#bar ? [this.#bar.element] : []), this.#facts);
    this.root.replaceChildren(side, main, this.#help);
    this.root.tabIndex = -1;
    this.root.addEventListener("keydown", (event) => onKey(event, this));
    new ResizeObserver(() => this.redraw()).observe(this.#stage.element);
    if (this.#options.address) this.root.ownerDocument.addEventListener("keydown", (event) => {
      if (event.target === this.root.ownerDocument.body) onKey(event, this);
    });
  }

  async #start(): Promise<void> {
    this.#takeColumns();
    const wanted = this.cohort.patients.indexOf(this.#state.patient);
    if (this.#state.patient && wanted < 0) this.#lasting.push(`The store has no patient ${this.#state.patient}.`);
    const start = wanted >= 0 ? wanted : this.#list.rows[0];
    if (start === undefined) this.#say([this.cohort.patients.length ? "No patient passes the filters." : "The store holds no patients."]);
    if (start === undefined) this.#wasSeen();
    else void this.#open(start, true);
    await this.#seen;
    await this.#loadColumns();
  }

  /** Read the other tables, results last, for filters and numbers. */
  async #loadColumns(): Promise<void> {
    const names = this.cohort.columns().filter((name) => !/(^|\/)\w+_digest$/.test(name) || name.endsWith("/input_digest"));
    this.#results = await Results.make(this.cohort);
    const inputs = [...names.filter((name) => name.endsWith("/input_digest")), ...this.cohort.entryNames()];
    const failed: string[] = [];
    const load = (name: string): Promise<unknown> => this.cohort.load(name).catch(() => failed.push(name));
    await Promise.all(inputs.map(load));
    await Promise.all(names.map(load));
    if (failed.length) this.#lasting.push(`Tables that cannot be read: ${failed.join(", ")}.`);
    this.#say(this.#said);
    this.#takeColumns();
    this.#showFacts();
    this.root.dataset["tables"] = "all";
  }

  #takeColumns(): void {
    const read = columnsOf(this.cohort, this.#results);
    const columns = [...read, warningsColumn(this.cohort), ...(this.#review ? reviewColumns(this.cohort, this.#review) : [])];
    this.#columns = new Map(columns.map((column) => [column.name, column]));
    this.#finder.offer(columns.filter(({ name }) => name !== "sequence" && name !== "patient"));
    this.#filter();
  }

  #filter(): void {
    const { column } = this.#state.order;
    this.#detail = column ? this.#columns.get(column) : [...this.#columns.values()].find(isVolume);
    this.#caption.textContent = this.#detail?.title ?? "";
    this.#caption.title = this.#detail?.meaning ?? "";
    const sample = this.#review?.sample;
    const found = listed(this.cohort.patients, this.#columns, this.#state);
    const rows = sample?.size ? found.filter((index) => sample.has(this.cohort.patients[index])) : found;
    this.#list.show(rows);
    const all = sample?.size || this.cohort.patients.length;
    const of = `${all} ${all === 1 ? "patient" : "patients"}${sample?.size ? " of the sample" : ""}`;
    this.#count.textContent = rows.length === all ? of : `${rows.length} of ${of}`;
    this.#bar?.draw();
    this.#keepAddress();
  }

  #row(index: number): Row {
    return row(this.cohort, index, this.#detail, decided(this.cohort, this.#review, index));
  }

  #barActions(): BarActions {
    return {
      scans: () =>
        this.#state.layout === "sequences" && !this.#state.sequence
          ? this.#labelsOf(this.#patient?.shown ?? [])
          : this.#labelsOf(this.#stage.series),
      drawn: () => this.#drawnTurn === this.#turn && this.#stage.drawn,
      seen: ({ patient, sequence }) =>
        digestSeen(this.cohort, this.cohort.patients.indexOf(patient), this.cohort.sequences.indexOf(sequence)),
      progress: () => {
        const rows = this.#list.rows;
        return [rows.length, rows.filter((index) => !isOpen(this.cohort, this.#review, index)).length];
      },
      kept: () => {
        this.#bar?.draw();
        this.#list.show(this.#list.rows);
      },
      next: () => this.toReview(),
    };
  }

  #labelsOf(series: readonly Series[]): { patient: string; sequence: string }[] {
    return series.map(({ scan }) => ({ patient: this.cohort.patients[scan.patient], sequence: this.cohort.sequences[scan.sequence] }));
  }

  /** The next patient of the list of whom a scan is not decided on, from the top after the last. */
  toReview(): void {
    const { rows } = this.#list;
    const at = rows.indexOf(this.#patient?.index ?? -1);
    const next = [...rows.slice(at + 1), ...rows.slice(0, at + 1)].find((index) => isOpen(this.cohort, this.#review, index));
    if (next !== undefined && next !== this.#patient?.index) void this.#open(next);
  }

  accept(): void {
    void this.#bar?.accept();
  }

  exclude(): void {
    this.#bar?.focus();
  }

  /** What is said of every patient. */
  #lasting: string[] = [];
  #said: string[] = [];
  #say(lines: string[]): void {
    this.#said = lines;
    const all = [...lines, ...this.#lasting];
    this.#banner.replaceChildren(...all.map((line) => h("p", {}, line)));
    this.#banner.hidden = all.length === 0;
  }

  /** Show a patient: first the slice with most tumor, then everything, then what the next one needs. */
  async #open(index: number, keepView = false): Promise<void> {
    const turn = ++this.#turn;
    const patient = await this.#patients.get(index).catch((error: unknown) => error as Error);
    if (turn !== this.#turn) return;
    if (patient instanceof Error) {
      this.#showNothing(index, patient.message);
      return;
    }
    this.root.dataset["ready"] = "no";
    if (!keepView) this.#state = { ...this.#state, at: null, center: null, span: null, levels: new Map() };
    this.#state.patient = this.cohort.patients[index];
    this.#patient = patient;
    this.#list.select(index);
    this.#say(warnings(this.cohort, patient));
    this.#stage.show(patient);
    this.#toolbar.offerPresets(this.#stage.presets);
    this.#showFacts();
    this.root.ownerDocument.title = this.#options.address ? `${this.#state.patient} – ${this.#options.name}` : this.root.ownerDocument.title;
    await patient.first(this.#state.at);
    this.#wasSeen();
    if (turn !== this.#turn) return;
    const at = this.#state.at ?? patient.middle ?? this.#stage.center;
    this.#state = normalized({ ...this.#state, at, ...(this.#state.span ? {} : this.#closeUp(patient)) });
    this.#keepAddress();
    this.draw();
    this.#drawnTurn = turn;
    this.#mark("first");
    await patient.rest(this.#state.at ?? this.#stage.center);
    if (turn !== this.#turn) return;
    this.draw();
    this.#mark("whole");
    await this.#fetchAhead(turn);
  }

  /** Say why a patient cannot be shown; the one before is taken away, lest it be taken for this one and reviewed. */
  #showNothing(index: number, why: string): void {
    this.#state = { ...this.#state, patient: this.cohort.patients[index] };
    this.#patient = null;
    this.#stage.show(null);
    this.#facts.replaceChildren();
    this.#list.select(index);
    this.#say([`${this.#state.patient} cannot be shown: ${why}; npczarr validate says more.`]);
    this.#wasSeen();
    this.#keepAddress();
    this.#mark("whole");
  }

  /** Where there are masks alone, look at them from near. */
  #closeUp({ shown, middle }: Patient): Partial<State> {
    if (!middle || shown.some(({ image }) => image)) return {};
    const size = Math.max(...shown.flatMap(({ masks }) => masks.map(extent)));
    return size > 0 ? { center: middle, span: 2 * size } : {};
  }

  /** Read what the first picture of the neighbors needs, the next one first. */
  async #fetchAhead(turn: number): Promise<void> {
    for (const steps of [1, -1]) {
      const next = this.#list.neighbor(steps);
      if (next === undefined || turn !== this.#turn) continue;
      const patient = await this.#patients.get(next).catch(() => null); // opening it says why
      await patient?.first(null);
    }
    if (turn === this.#turn) this.#mark("ahead");
  }

  #mark(ready: string): void {
    Object.assign(this.root.dataset, { ready, requests: String(this.#objects.keys.length), bytes: String(this.#objects.bytes) });
  }

  /** Change the state, and show it; `panes` where other panes are needed. */
  set(change: Partial<State>, panes = false): void {
    this.#state = normalized({ ...this.#state, ...change });
    if (panes) this.#stage.layOut();
    else this.redraw();
    this.#keepAddress();
  }

  get state(): Readonly<State> {
    return this.#state;
  }

  redraw(): void {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }

  draw(): void {
    this.#stage.draw();
    const { plane, tool, sequences } = this.#stage;
    this.#toolbar.show(this.#state, { patient: this.#state.patient, plane, tool, sequences });
    this.#bar?.draw();
    const { at } = this.#state;
    if (at) this.root.dataset["at"] = at.map((mm) => mm.toFixed(3)).join(",");
    if (this.root.dataset["ready"] !== "no") this.#stage.loadWhatIsSeen();
  }

  #keepAddress(): void {
    if (!this.#options.address) return;
    clearTimeout(this.#addressTimer);
    this.#addressTimer = window.setTimeout(() => {
      const kept = new URLSearchParams(location.search);
      for (const name of STATE_NAMES) kept.delete(name);
      history.replaceState(null, "", `?${toQuery(this.#state, kept)}`);
    }, 150);
  }

  #showFacts(): void {
    if (this.#patient) this.#facts.replaceChildren(facts(this.cohort, this.#patient, [...this.#columns.values()], this.#results));
  }

  #actions(): ToolbarActions {
    return {
      list: () => this.toggleList(),
      step: (patients) => this.step(patients),
      plane: (plane) => this.set({ plane }, true),
      layout: (layout) => this.set({ layout, center: null, span: null }, true),
      sequence: (sequence) => this.set({ sequence }, true),
      tool: (tool) => this.pick(tool),
      style: (style) => this.set({ style }),
      hide: (name, hidden) => {
        const others = [...this.#state.hidden].filter((one) => one !== name);
        this.set({ hidden: new Set(hidden ? [...others, name] : others) });
      },
      preset: (index) => this.#stage.preset(index),
      zoom: (factor) => this.zoom(factor),
      fit: () => this.set({ center: null, span: null }),
      smooth: () => this.set({ smooth: !this.#state.smooth }),
      crosshair: () => this.set({ crosshair: !this.#state.crosshair }),
      theme: () => this.theme(),
      help: () => this.#help.showModal(),
    };
  }

  /** What keys do, beside what the toolbar does. */
  step(patients: number): void {
    const next = this.#list.neighbor(patients);
    if (next !== undefined) void this.#open(next);
  }

  slice(steps: number): void {
    this.#stage.slice(steps);
  }

  pick(tool: Tool): void {
    this.#stage.tool = tool;
    this.redraw();
  }

  zoom(factor: number): void {
    this.#stage.zoom(factor);
  }

  brighten(share: number): void {
    this.#stage.brighten(share);
  }

  toTumor(): void {
    if (this.#patient?.middle) this.set({ at: this.#patient.middle });
  }

  nextSequence(steps: number): void {
    const names = ["", ...this.#stage.sequences];
    const at = Math.max(names.indexOf(this.#state.sequence), 0);
    this.set({ sequence: names[(at + steps + names.length) % names.length] }, true);
  }

  toggleMask(): void {
    if (this.#state.style !== "off") this.#style = this.#state.style;
    this.set({ style: this.#state.style === "off" ? this.#style : "off" });
  }

  find(): void {
    this.root.dataset["list"] = "open";
    this.#finder.focus();
  }

  toggleList(): void {
    this.root.dataset["list"] = this.#list.element.offsetParent ? "closed" : "open";
  }

  showHelp(): void {
    this.#help.showModal();
  }

  theme(): void {
    const dark = getComputedStyle(this.root).colorScheme === "dark";
    this.root.dataset["theme"] = dark ? "light" : "dark";
  }
}
