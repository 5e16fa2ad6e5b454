// The pictures of one patient: which panes there are, where they look, and their gray levels.
import type { Cohort } from "./cohort.js";
import type { LabelColors, MaskColors } from "./colors.js";
import { h } from "./dom.js";
import { PLANES, type Plane, type Vector } from "./geometry.js";
import { Pane, type Look, type PaneActions, type Tool } from "./pane.js";
import type { Patient, Series } from "./patient.js";
import { CT_PRESETS, levelsOf, PRESETS, type Levels, type Preset } from "./render.js";
import { Solid, turned, type SolidActions } from "./solid.js";
import { span } from "./span.js";
import type { State } from "./state.js";

/** What the pictures need of the page: its state, and how to change it; `panes` where other panes are needed. */
export interface View {
  readonly state: Readonly<State>;
  set(change: Partial<State>, panes?: boolean): void;
  redraw(): void;
}

export class Stage {
  readonly element = h("section", { class: "panes", "aria-label": "pictures" });
  tool: Tool = "crosshair";
  readonly #cohort: Cohort;
  readonly #masks: MaskColors;
  readonly #view: View;
  #patient: Patient | null = null;
  #panes: Pane[] = [];
  #solids: Solid[] = [];
  #automatic = new Map<string, Levels>();

  constructor(cohort: Cohort, masks: MaskColors, view: View) {
    this.#cohort = cohort;
    this.#masks = masks;
    this.#view = view;
  }

  show(patient: Patient | null): void {
    this.#patient = patient;
    this.#automatic = new Map();
    this.layOut();
  }

  /** Make the panes that the layout wants. */
  layOut(): void {
    const { layout } = this.#view.state;
    const planes = layout === "sequences" ? [this.plane] : layout === "solid" ? [] : PLANES;
    this.#panes = this.series.flatMap((series) =>
      planes.map((plane) => new Pane(series, plane, this.#name(series), this.#paneActions(series))),
    );
    this.#solids = layout === "solid" ? this.series.map((series) => new Solid(series, this.#name(series), this.#solidActions(series))) : [];
    const shown = [...this.#panes, ...this.#solids];
    this.element.dataset["columns"] = String(planes.length > 1 ? planes.length : Math.max(shown.length, 1));
    this.element.replaceChildren(...shown.map(({ element }) => element));
    this.#view.redraw();
  }

  draw(): void {
    const { turn, span: wide, style, hidden } = this.#view.state;
    const [colors, predicted] = [this.#masks.stored(hidden), this.#masks.predicted(hidden)];
    for (const pane of this.#panes) pane.draw(this.#look(pane, colors, predicted));
    for (const solid of this.#solids) solid.draw({ turn, span: wide, style, colors, predicted });
  }

  /** Whether every pane is drawn, or says why it cannot be. */
  get drawn(): boolean {
    return [...this.#panes, ...this.#solids].every(({ drawn }) => drawn);
  }

  /** A slice that is scrolled to before it was read goes first. */
  loadWhatIsSeen(): void {
    const { at } = this.#view.state;
    if (!at) return;
    for (const { series } of this.#panes) {
      const { image } = series;
      const k = image ? Math.round(image.grid.toIndex(at)[2]) : -1;
      if (image && k >= 0 && k < image.grid.count[2] && !image.hasSlice(k) && !image.problem)
        image.loadSlice(k).then(() => this.#view.redraw(), () => this.#view.redraw());
    }
  }

  /** Names of the sequences that can be shown. */
  get sequences(): string[] {
    return this.#patient?.shown.map((series) => this.#name(series)) ?? [];
  }

  /** The series that the layout shows. */
  get series(): Series[] {
    const shown = this.#patient?.shown ?? [];
    const { layout, sequence } = this.#view.state;
    const chosen = shown.filter((series) => this.#name(series) === sequence);
    if (layout === "grid") return shown;
    if (layout === "planes") return chosen.length ? chosen : shown.slice(0, 1);
    return chosen.length ? chosen : shown;
  }

  get plane(): Plane {
    return this.#view.state.plane ?? this.#patient?.shown[0]?.scan.grid?.ownPlane ?? "axial";
  }

  get center(): Vector {
    return this.series[0]?.scan.grid?.center ?? [0, 0, 0];
  }

  get presets(): Preset[] {
    const modalities = this.#patient?.series.map(({ scan }) => this.#cohort.value("modality", scan.patient, scan.sequence));
    return modalities?.includes("CT") ? [...CT_PRESETS, ...PRESETS] : [...PRESETS];
  }

  slice(steps: number): void {
    const { turn, at } = this.#view.state;
    if (this.#solids.length) this.#view.set({ turn: Math.abs(steps) > 1 ? turned(turn, 3 * steps, 0) : turned(turn, 0, 10 * steps) });
    const pane = this.#panes[0];
    if (pane && at) this.#view.set({ at: pane.stepped(at, steps) });
  }

  zoom(factor: number): void {
    const { span: wide, center, at } = this.#view.state;
    const now = wide ?? this.#solids[0]?.span ?? this.#fitting();
    this.#view.set({ span: now * factor, ...(this.#solids.length ? {} : { center: center ?? at }) });
  }

  /** Give all sequences the gray levels of a preset. */
  preset(index: number): void {
    this.#level((series) => this.#presetLevels(series, this.presets[index]));
  }

  /** Shift the gray levels of all sequences by a share of their width. */
  brighten(share: number): void {
    this.#level((series) => {
      const { low, high } = this.#levelsOf(series);
      const by = share * (high - low);
      return { low: low - by, high: high - by };
    });
  }

  #level(levelsOfSeries: (series: Series) => Levels | null): void {
    const levels = new Map(this.#view.state.levels);
    for (const series of this.#patient?.shown ?? []) {
      const found = levelsOfSeries(series);
      if (found) levels.set(this.#name(series), found);
    }
    this.#view.set({ levels });
  }

  #name({ scan }: Series): string {
    return this.#cohort.sequences[scan.sequence];
  }

  #fitting(): number {
    const grids = this.series.flatMap(({ scan }) => (scan.grid ? [scan.grid] : []));
    return span(grids, this.#panes.map(({ plane }) => plane));
  }

  #look(pane: Pane, colors: readonly LabelColors[], predicted: LabelColors): Look {
    const { span: wide, center, style, smooth, crosshair, at } = this.#view.state;
    return {
      at: at ?? this.center, center: center ?? this.center, span: wide ?? this.#fitting(), plane: pane.plane, style, smooth, crosshair,
      colors, predicted, tool: this.tool, levels: this.#levelsOf(pane.series),
    };
  }

  #levelsOf(series: Series): Levels {
    const name = this.#name(series);
    const chosen = this.#view.state.levels.get(name) ?? this.#automatic.get(name);
    if (chosen) return chosen;
    const found = this.#presetLevels(series, PRESETS[0]);
    if (found) this.#automatic.set(name, found);
    return found ?? { low: 0, high: 1 };
  }

  #presetLevels({ image, scan }: Series, preset: Preset): Levels | null {
    const { at } = this.#view.state;
    if (!image || !at || !scan.grid) return null;
    const k = Math.min(Math.max(Math.round(scan.grid.toIndex(at)[2]), 0), scan.grid.count[2] - 1);
    return image.hasSlice(k) ? levelsOf(preset, image.slice(scan.grid.view(scan.grid.ownPlane), k)) : null;
  }

  #focus(series: Series): void {
    const name = this.#name(series);
    this.#view.set({ sequence: this.#view.state.sequence === name ? "" : name }, true);
  }

  #paneActions(series: Series): PaneActions {
    return {
      moveTo: (at) => this.#view.set({ at }),
      look: (center, wide) => this.#view.set({ center, span: wide }),
      level: (levels) => this.#view.set({ levels: new Map([...this.#view.state.levels, [this.#name(series), levels]]) }),
      focus: () => this.#focus(series),
    };
  }

  #solidActions(series: Series): SolidActions {
    return {
      turn: (turn) => this.#view.set({ turn }),
      zoom: (wide) => this.#view.set({ span: wide }),
      focus: () => this.#focus(series),
    };
  }
}
