// The page: a list of patients, and the panes of one.
import { columnsOf, Results, TUMOR_VOLUME, type Column } from "./columns.js";
import { Cohort, STORED } from "./cohort.js";
import { h, number } from "./dom.js";
import { facts } from "./facts.js";
import { listed } from "./filter.js";
import { Finder } from "./finder.js";
import { PLANES, type Plane, type Vector } from "./geometry.js";
import { onKey } from "./keys.js";
import { PatientList, type Row } from "./list.js";
import { CountingObjects, type ObjectSource } from "./objects.js";
import { Pane, type Look, type Tool } from "./pane.js";
import { Patients, type Patient, type Series } from "./patient.js";
import { Predictions, type Predicted } from "./predictions.js";
import { colorOf, CT_PRESETS, levelsOf, PRESETS, type Color, type Levels, type Preset } from "./render.js";
import { fromQuery, initial, normalized, toQuery, STATE_NAMES, type State } from "./state.js";
import { helpDialog, Toolbar, type Legend, type ToolbarActions } from "./toolbar.js";
import { Review, ReviewBar, reviewColumns, warningsColumn, type BarActions } from "./review.js";
import { Solid, turned } from "./solid.js";
import { span } from "./span.js";
import { extent } from "./volume.js";

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

export class Viewer {
  readonly root: HTMLElement;
  readonly #objects: CountingObjects;
  readonly #options: ViewerOptions;
  readonly #patients: Patients;
  readonly #predictions: Predictions | null;
  readonly #list: PatientList;
  readonly #finder: Finder;
  readonly #toolbar: Toolbar;
  readonly #banner = h("div", { class: "banner", role: "status" });
  readonly #stage = h("section", { class: "panes", "aria-label": "pictures" });
  readonly #facts = h("section", { class: "about", "aria-label": "numbers" });
  readonly #count = h("p", { class: "count", role: "status" });
  readonly #help = helpDialog();
  readonly cohort: Cohort;
  readonly #review: Review | null;
  readonly #bar: ReviewBar | null;
  #columns = new Map<string, Column>();
  #results: Results | null = null;
  #state: State;
  #tool: Tool = "crosshair";
  #patient: Patient | null = null;
  #panes: Pane[] = [];
  #solids: Solid[] = [];
  #automatic = new Map<string, Levels>();
  #style: "outline" | "fill" = "outline";
  #frame = 0;
  #addressTimer = 0;
  #turn = 0;
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
    this.#predictions = options.predictions ? new Predictions(options.predictions) : null;
    this.#patients = new Patients(cohort, this.#predictions);
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
    this.#toolbar = new Toolbar(this.#actions(), this.#legend());
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
      viewer.#lasting = [...failed, ...(viewer.#review?.problems ?? [])];
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
      h("p", { class: "store" }, this.#options.name), this.#finder.element, this.#count, this.#list.element);
    const main = h("main", {}, this.#toolbar.element, this.#banner, this.#stage, ...(this.#bar ? [this.#bar.element] : []), this.#facts);
    this.root.replaceChildren(side, main, this.#help);
    this.root.tabIndex = -1;
    this.root.addEventListener("keydown", (event) => onKey(event, this));
    new ResizeObserver(() => this.redraw()).observe(this.#stage);
    if (this.#options.address) this.root.ownerDocument.addEventListener("keydown", (event) => {
      if (event.target === this.root.ownerDocument.body) onKey(event, this);
    });
  }

  async #start(): Promise<void> {
    this.#takeColumns();
    const wanted = this.cohort.patients.indexOf(this.#state.patient);
    if (this.#state.patient && wanted < 0) this.#say([`The store has no patient ${this.#state.patient}.`]);
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
    const inputs = names.filter((name) => name.endsWith("/input_digest"));
    const failed: string[] = [];
    const load = (name: string): Promise<unknown> => this.cohort.load(name).catch(() => failed.push(name));
    await Promise.all(inputs.map(load));
    await Promise.all(names.map(load));
    if (failed.length) this.#say([...this.#said, `Tables that cannot be read: ${failed.join(", ")}.`]);
    this.#takeColumns();
    this.#showFacts();
    this.root.dataset["tables"] = "all";
  }

  #takeColumns(): void {
    const results = this.#results;
    const read = columnsOf(this.cohort, results ?? ({ holds: () => false } as unknown as Results));
    const columns = [...read, warningsColumn(this.cohort), ...(this.#review ? reviewColumns(this.cohort, this.#review) : [])];
    this.#columns = new Map(columns.map((column) => [column.name, column]));
    this.#finder.offer(columns.filter(({ name }) => name !== "sequence" && name !== "patient"));
    this.#filter();
  }

  #filter(): void {
    const sample = this.#review?.sample;
    const found = listed(this.cohort.patients, this.#columns, this.#state);
    const rows = sample?.size ? found.filter((index) => sample.has(this.cohort.patients[index])) : found;
    this.#list.show(rows);
    const all = sample?.size || this.cohort.patients.length;
    const of = sample?.size ? `${all} patients of the sample` : `${all} patients`;
    this.#count.textContent = rows.length === all ? of : `${rows.length} of ${of}`;
    this.#bar?.draw();
    this.#keepAddress();
  }

  #row(index: number): Row {
    const name = this.#state.order.column || TUMOR_VOLUME;
    const column = this.#columns.get(name);
    const values = column?.values(index) ?? [];
    const best = values.length && column?.numeric ? Math.max(...(values as number[])) : values[0];
    const detail = best === undefined ? "" : typeof best === "number" ? `${number(best, 1)} ${column?.units ?? ""}` : best;
    const flags = this.cohort.sequences.flatMap((sequence, i) => {
      const status = String(this.cohort.value("status", index, i));
      return status === "ok" ? [] : [`${sequence}: ${status}`];
    });
    return { index, label: this.cohort.patients[index], detail, flag: flags.join(", "), mark: this.#markOf(index) };
  }

  /** What was decided on the scans of a patient: one word if it is one. */
  #markOf(index: number): string {
    const patient = this.cohort.patients[index];
    const stored = this.cohort.sequences.filter((_, i) => STORED.includes(String(this.cohort.value("status", index, i))));
    const words = new Set(stored.map((sequence) => this.#review?.of(patient, sequence)?.decision ?? ""));
    if (words.has("")) return words.size > 1 ? "in part" : "";
    return words.has("exclude") ? "exclude" : [...words].join("");
  }

  #barActions(): BarActions {
    return {
      scans: () =>
        this.#state.layout === "sequences" && !this.#state.sequence
          ? this.#labelsOf(this.#patient?.shown ?? [])
          : this.#labelsOf(this.#shownSeries),
      progress: () => {
        const rows = this.#list.rows;
        return [rows.length, rows.filter((index) => !["", "in part"].includes(this.#markOf(index))).length];
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
    const next = [...rows.slice(at + 1), ...rows.slice(0, at + 1)].find((index) => ["", "in part"].includes(this.#markOf(index)));
    if (next !== undefined && next !== this.#patient?.index) void this.#open(next);
  }

  accept(): void {
    void this.#bar?.accept();
  }

  exclude(): void {
    this.#bar?.focus();
  }

  #legend(): Legend[] {
    const labels = [...this.cohort.labels().values()];
    const names = this.cohort.raters.length ? this.cohort.raters : labels;
    const predicted = this.#predictions ? labels.map((label) => this.#predictedName(label)) : [];
    return [...names, ...predicted].map((name, color) => ({ name, color }));
  }

  #predictedName(label: string): string {
    return `${this.#predictions?.name ?? ""}: ${label}`;
  }

  /** Colors of the labels of a prediction that are drawn: those after the store's own. */
  #predictedColors(): ReadonlyMap<number, Color> {
    const labels = this.cohort.labels();
    const drawn = [...labels].map(([label, name], i) => [label, this.#predictedName(name), colorOf(labels.size + i)] as const);
    return new Map(drawn.flatMap(([label, name, color]) => (this.#state.hidden.has(name) ? [] : [[label, color] as const])));
  }

  /** For each mask of a series, the colors of the labels that are drawn. */
  #colors(): ReadonlyMap<number, Color>[] {
    const labels = this.cohort.labels();
    const { raters } = this.cohort;
    const { hidden } = this.#state;
    if (raters.length)
      return raters.map((rater, i) => new Map(hidden.has(rater) ? [] : [...labels.keys()].map((label) => [label, colorOf(i)])));
    return [new Map([...labels].flatMap(([label, name], i) => (hidden.has(name) ? [] : [[label, colorOf(i)] as const])))];
  }

  /** What is said of every patient. */
  #lasting: readonly string[] = [];
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
    const patient = await this.#patients.get(index);
    if (turn !== this.#turn) return;
    this.root.dataset["ready"] = "no";
    if (!keepView) this.#state = { ...this.#state, at: null, center: null, span: null, levels: new Map() };
    this.#state.patient = this.cohort.patients[index];
    this.#patient = patient;
    this.#automatic = new Map();
    this.#list.select(index);
    this.#say(this.#warnings(patient));
    this.#layOut();
    this.#showFacts();
    this.root.ownerDocument.title = this.#options.address ? `${this.#state.patient} – ${this.#options.name}` : this.root.ownerDocument.title;
    await patient.first(this.#state.at);
    this.#wasSeen();
    if (turn !== this.#turn) return;
    const at = this.#state.at ?? patient.middle ?? this.#center();
    this.#state = normalized({ ...this.#state, at, ...(this.#state.span ? {} : this.#closeUp(patient)) });
    this.#keepAddress();
    this.draw();
    this.#mark("first");
    await patient.rest(this.#state.at ?? this.#center());
    if (turn !== this.#turn) return;
    this.draw();
    this.#mark("whole");
    await this.#fetchAhead(turn);
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
      const patient = await this.#patients.get(next);
      await patient.first(null);
    }
    if (turn === this.#turn) this.#mark("ahead");
  }

  #mark(ready: string): void {
    Object.assign(this.root.dataset, { ready, requests: String(this.#objects.keys.length), bytes: String(this.#objects.bytes) });
  }

  #warnings(patient: Patient): string[] {
    const { shown } = patient;
    const frames = new Map<string, string[]>();
    for (const { scan } of shown)
      if (scan.frame) frames.set(scan.frame, [...(frames.get(scan.frame) ?? []), this.cohort.sequences[scan.sequence]]);
    const lines: string[] = [];
    if (frames.size > 1) {
      const groups = [...frames.values()].map((names) => names.join(", ")).join(" | ");
      lines.push(`Different frames of reference: ${groups}. The same place in mm may be another place of the patient.`);
    }
    const absent = patient.series.filter(({ scan }) => scan.grid === null);
    for (const { scan, problems } of absent) {
      const why = problems[0] ?? `${scan.status}${scan.message ? `, ${scan.message}` : ""}`;
      lines.push(`${this.cohort.sequences[scan.sequence]} is not shown: ${why}`);
    }
    return lines;
  }

  get #shownSeries(): Series[] {
    const shown = this.#patient?.shown ?? [];
    const { layout, sequence } = this.#state;
    const chosen = shown.filter(({ scan }) => this.cohort.sequences[scan.sequence] === sequence);
    if (layout === "grid") return shown;
    if (layout === "planes") return chosen.length ? chosen : shown.slice(0, 1);
    return chosen.length ? chosen : shown;
  }

  get #plane(): Plane {
    return this.#state.plane ?? this.#patient?.shown[0]?.scan.grid?.ownPlane ?? "axial";
  }

  /** Make the panes that the layout wants. */
  #layOut(): void {
    const { layout } = this.#state;
    const planes = layout === "sequences" ? [this.#plane] : layout === "solid" ? [] : PLANES;
    const title = ({ scan }: Series): string => this.cohort.sequences[scan.sequence];
    this.#panes = this.#shownSeries.flatMap((series) =>
      planes.map((plane) => new Pane(series, plane, title(series), this.#paneActions(series))),
    );
    this.#solids = layout === "solid" ? this.#shownSeries.map((series) => new Solid(series, title(series), this.#solidActions(series))) : [];
    const shown = [...this.#panes, ...this.#solids];
    this.#stage.dataset["columns"] = String(planes.length > 1 ? planes.length : Math.max(shown.length, 1));
    this.#stage.replaceChildren(...shown.map(({ element }) => element));
    const modalities = new Set(this.#patient?.series.map(({ scan }) => this.cohort.value("modality", scan.patient, scan.sequence)));
    this.#toolbar.offerPresets(this.#presets(modalities.has("CT")));
    this.redraw();
  }

  #presets(ct: boolean): Preset[] {
    return ct ? [...CT_PRESETS, ...PRESETS] : [...PRESETS];
  }

  #paneActions(series: Series): ConstructorParameters<typeof Pane>[3] {
    const name = this.cohort.sequences[series.scan.sequence];
    return {
      moveTo: (at) => this.set({ at }),
      look: (center, wide) => this.set({ center, span: wide }),
      level: (levels) => this.set({ levels: new Map([...this.#state.levels, [name, levels]]) }),
      focus: () => this.set({ sequence: this.#state.sequence === name ? "" : name }, true),
    };
  }

  #solidActions({ scan }: Series): ConstructorParameters<typeof Solid>[2] {
    const name = this.cohort.sequences[scan.sequence];
    return {
      turn: (turn) => this.set({ turn }),
      zoom: (wide) => this.set({ span: wide }),
      focus: () => this.set({ sequence: this.#state.sequence === name ? "" : name }, true),
    };
  }

  #center(): Vector {
    return this.#shownSeries[0]?.scan.grid?.center ?? [0, 0, 0];
  }

  /** Change the state, and show it; `panes` where other panes are needed. */
  set(change: Partial<State>, panes = false): void {
    this.#state = normalized({ ...this.#state, ...change });
    if (panes) this.#layOut();
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
    const colors = this.#colors();
    for (const pane of this.#panes) pane.draw(this.#look(pane, colors));
    const { turn, span: wide, style } = this.#state;
    for (const solid of this.#solids) solid.draw({ turn, span: wide, style, colors, predicted: this.#predictedColors() });
    const sequences = this.#patient?.shown.map(({ scan }) => this.cohort.sequences[scan.sequence]) ?? [];
    this.#toolbar.show(this.#state, { patient: this.#state.patient, plane: this.#plane, tool: this.#tool, sequences });
    this.#bar?.draw();
    const { at } = this.#state;
    if (at) this.root.dataset["at"] = at.map((mm) => mm.toFixed(3)).join(",");
    this.#loadWhatIsSeen();
  }

  /** A slice that is scrolled to before it was read goes first. */
  #loadWhatIsSeen(): void {
    const { at } = this.#state;
    if (!at || this.root.dataset["ready"] === "no") return;
    for (const { series } of this.#panes) {
      const { image } = series;
      const k = image ? Math.round(image.grid.toIndex(at)[2]) : -1;
      if (image && k >= 0 && k < image.grid.count[2] && !image.hasSlice(k) && !image.problem)
        image.loadSlice(k).then(() => this.redraw(), () => this.redraw());
    }
  }

  #look(pane: Pane, colors: readonly ReadonlyMap<number, Color>[]): Look {
    const { span: wide, center, style, smooth, crosshair } = this.#state;
    const at = this.#state.at ?? this.#center();
    const grids = this.#shownSeries.flatMap(({ scan }) => (scan.grid ? [scan.grid] : []));
    return {
      at, center: center ?? this.#center(), span: wide ?? span(grids, this.#panes.map(({ plane }) => plane)),
      plane: pane.plane, style, smooth, crosshair, colors, predicted: this.#predictedColors(), tool: this.#tool, levels: this.#levelsOf(pane.series),
    };
  }

  #levelsOf(series: Series): Levels {
    const name = this.cohort.sequences[series.scan.sequence];
    const chosen = this.#state.levels.get(name) ?? this.#automatic.get(name);
    if (chosen) return chosen;
    const found = this.#presetLevels(series, PRESETS[0]);
    if (found) this.#automatic.set(name, found);
    return found ?? { low: 0, high: 1 };
  }

  #presetLevels({ image, scan }: Series, preset: Preset): Levels | null {
    const { at } = this.#state;
    if (!image || !at || !scan.grid) return null;
    const k = Math.min(Math.max(Math.round(scan.grid.toIndex(at)[2]), 0), scan.grid.count[2] - 1);
    return image.hasSlice(k) ? levelsOf(preset, image.slice(scan.grid.view(scan.grid.ownPlane), k)) : null;
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
      preset: (index) => this.preset(index),
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
    if (this.#solids.length) this.set({ turn: Math.abs(steps) > 1 ? turned(this.#state.turn, 3 * steps, 0) : turned(this.#state.turn, 0, 10 * steps) });
    const pane = this.#panes[0];
    if (pane && this.#state.at) this.set({ at: pane.stepped(this.#state.at, steps) });
  }

  pick(tool: Tool): void {
    this.#tool = tool;
    this.redraw();
  }

  zoom(factor: number): void {
    const grids = this.#shownSeries.flatMap(({ scan }) => (scan.grid ? [scan.grid] : []));
    const now = this.#state.span ?? this.#solids[0]?.span ?? span(grids, this.#panes.map(({ plane }) => plane));
    this.set({ span: now * factor, ...(this.#solids.length ? {} : { center: this.#state.center ?? this.#state.at }) });
  }

  preset(index: number): void {
    const modalities = new Set(this.#patient?.series.map(({ scan }) => this.cohort.value("modality", scan.patient, scan.sequence)));
    const preset = this.#presets(modalities.has("CT"))[index];
    const levels = new Map(this.#state.levels);
    for (const series of this.#patient?.shown ?? []) {
      const found = this.#presetLevels(series, preset);
      if (found) levels.set(this.cohort.sequences[series.scan.sequence], found);
    }
    this.set({ levels });
  }

  /** Shift the gray levels of all sequences by a share of their width. */
  brighten(share: number): void {
    const levels = new Map(this.#state.levels);
    for (const series of this.#patient?.shown ?? []) {
      const { low, high } = this.#levelsOf(series);
      const by = share * (high - low);
      levels.set(this.cohort.sequences[series.scan.sequence], { low: low - by, high: high - by });
    }
    this.set({ levels });
  }

  toTumor(): void {
    if (this.#patient?.middle) this.set({ at: this.#patient.middle });
  }

  nextSequence(steps: number): void {
    const names = ["", ...(this.#patient?.shown.map(({ scan }) => this.cohort.sequences[scan.sequence]) ?? [])];
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
