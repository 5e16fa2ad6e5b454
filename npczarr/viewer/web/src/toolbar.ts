// The controls above the panes.
import { button, choice, h, select } from "./dom.js";
import type { Plane } from "./geometry.js";
import type { Tool } from "./pane.js";
import { colorOf, type MaskStyle, type Preset } from "./render.js";
import type { Layout, State } from "./state.js";

export interface ToolbarActions {
  list(): void;
  step(patients: number): void;
  plane(plane: Plane): void;
  layout(layout: Layout): void;
  sequence(name: string): void;
  tool(tool: Tool): void;
  style(style: MaskStyle): void;
  hide(name: string, hidden: boolean): void;
  preset(index: number): void;
  zoom(factor: number): void;
  fit(): void;
  smooth(): void;
  crosshair(): void;
  theme(): void;
  help(): void;
}
export interface Legend {
  /** What is shown or hidden by it, and the number of its color. */
  readonly name: string;
  readonly color: number;
}

/** What is shown by the toolbar beside the state. */
export interface Shown {
  readonly patient: string;
  readonly plane: Plane;
  readonly tool: Tool;
  readonly sequences: readonly string[];
}

export class Toolbar {
  readonly element: HTMLElement;
  readonly #title = h("h1", {});
  readonly #actions: ToolbarActions;
  readonly #plane; readonly #layout; readonly #tool; readonly #style;
  readonly #sequence: HTMLSelectElement;
  readonly #preset = h("select", { "aria-label": "gray levels", title: "gray levels of all sequences (drag with the right button, or with tool Levels, for one)" });
  readonly #legend = h("div", { class: "legend", role: "group", "aria-label": "masks that are drawn" });
  readonly #smooth: HTMLButtonElement;
  readonly #crosshair: HTMLButtonElement;

  constructor(actions: ToolbarActions, legend: readonly Legend[]) {
    this.#actions = actions;
    this.#plane = choice<Plane>("plane", [
      ["axial", "Axial", "axial slices (A)"], ["coronal", "Coronal", "coronal slices (C)"], ["sagittal", "Sagittal", "sagittal slices (S)"],
    ], actions.plane);
    this.#layout = choice<Layout>("layout", [
      ["sequences", "Sequences", "sequences side by side (1)"], ["planes", "Planes", "one sequence in three planes (2)"],
      ["grid", "All", "every sequence in three planes (3)"],
      ["solid", "3-D", "masks in three dimensions (4)"],
    ], actions.layout);
    this.#tool = choice<Tool>("what a drag does", [
      ["crosshair", "Point", "drag the crosshair (X)"], ["window", "Levels", "drag for brightness and contrast (W)"],
      ["pan", "Move", "drag the picture (P)"], ["measure", "Measure", "drag to measure a distance (D)"],
    ], actions.tool);
    this.#style = choice<MaskStyle>("mask", [
      ["outline", "Outline", "masks as outlines (O)"], ["fill", "Fill", "masks filled (F)"], ["off", "Off", "no masks (M switches)"],
    ], actions.style);
    this.#sequence = select("sequence", [], actions.sequence);
    this.#preset.addEventListener("change", () => {
      if (this.#preset.value) actions.preset(Number(this.#preset.value));
    });
    this.#smooth = button("Smooth", "smooth the pixels (I)", actions.smooth);
    this.#crosshair = button("Crosshair", "show the crosshair (H)", actions.crosshair);
    this.#legend.append(...legend.map((one) => this.#entry(one)));
    this.element = h(
      "header", { class: "toolbar" },
      h("div", { class: "who" },
        button("☰", "list of patients (L)", actions.list, { class: "menu" }),
        button("‹", "previous patient (K or ←)", () => actions.step(-1)), this.#title,
        button("›", "next patient (J or →)", () => actions.step(1))),
      h("div", { class: "controls" },
        this.#layout.element, this.#sequence, this.#plane.element, this.#tool.element, this.#preset,
        h("div", { class: "choice", role: "group", "aria-label": "zoom" },
          button("−", "zoom out (−)", () => actions.zoom(1.25)), button("Fit", "show everything (0)", actions.fit),
          button("+", "zoom in (+)", () => actions.zoom(0.8))),
        this.#style.element, this.#legend,
        h("div", { class: "choice" }, this.#smooth, this.#crosshair),
        h("div", { class: "choice" }, button("◐", "light or dark (T)", actions.theme), button("?", "keys (?)", actions.help))),
    );
  }

  #entry({ name, color }: Legend): HTMLElement {
    const box = h("input", { type: "checkbox", checked: true, onchange: () => this.#actions.hide(name, !box.checked), "data-name": name });
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = `rgb(${colorOf(color).join(" ")})`;
    return h("label", {}, box, swatch, name);
  }

  offerPresets(presets: readonly Preset[]): void {
    this.#preset.replaceChildren(
      h("option", { value: "" }, "Gray levels…"),
      ...presets.map(({ name }, i) => h("option", { value: i }, name)),
    );
  }

  show(state: State, { patient, plane, tool, sequences }: Shown): void {
    this.#title.textContent = patient;
    this.#plane.show(plane);
    this.#layout.show(state.layout);
    this.#tool.show(tool);
    this.#style.show(state.style);
    const all = ["sequences", "solid"].includes(state.layout) ? ["all sequences"] : [];
    const options = [...all.map((name) => h("option", { value: "" }, name)), ...sequences.map((name) => h("option", { value: name }, name))];
    this.#sequence.replaceChildren(...options);
    this.#sequence.value = state.sequence;
    if (!this.#sequence.value) this.#sequence.selectedIndex = 0;
    this.#sequence.hidden = state.layout === "grid";
    this.#plane.element.hidden = state.layout !== "sequences";
    const solid = state.layout === "solid";
    for (const one of [this.#tool.element, this.#preset, this.#smooth.parentElement]) if (one) one.hidden = solid;
    this.#smooth.setAttribute("aria-pressed", String(state.smooth));
    this.#crosshair.setAttribute("aria-pressed", String(state.crosshair));
    for (const box of this.#legend.querySelectorAll("input")) box.checked = !state.hidden.has(box.dataset["name"] ?? "");
  }
}

/** The keys, as a dialog. */
export function helpDialog(): HTMLDialogElement {
  const keys: readonly (readonly [string, string])[] = [
    ["← → or K J", "previous, next patient"], ["↑ ↓, wheel", "next slice; in 3-D up, down, zoom"], ["Page up, page down", "five slices; in 3-D around"],
    ["1 2 3 4", "sequences side by side, one in three planes, all, masks in 3-D"], ["Q E", "previous, next sequence alone"],
    ["A C S", "axial, coronal, sagittal"], ["M O F", "masks on and off, outline, fill"], ["+ − 0", "zoom, fit"],
    ["X W P D", "a drag points, changes gray levels, moves, measures"], ["right drag, Shift drag", "gray levels, move"],
    ["[ ]", "darker, brighter"], ["R", "gray levels as at first"], ["G", "to the tumor"], ["I H", "smooth pixels, crosshair"],
    ["L / T", "list of patients, find a patient, light or dark"], ["double click", "one sequence alone"],
    ["Y N .", "review: accept, choose a reason to exclude, next patient"],
  ];
  const dialog = h("dialog", { class: "help", "aria-label": "keys" });
  dialog.append(
    h("h2", {}, "Keys"),
    h("dl", {}, ...keys.flatMap(([key, what]) => [h("dt", {}, key), h("dd", {}, what)])),
    button("Close", "close", () => dialog.close()),
  );
  return dialog;
}
