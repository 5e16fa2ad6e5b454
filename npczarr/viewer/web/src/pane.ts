// One pane: a sequence in a plane, with its mask, crosshair, letters and ruler.
import { h, LOADING, number } from "./dom.js";
import {
  add, length, project, rulerLength, scale, side, subtract, unproject,
  type Camera, type Plane, type PlaneView, type Vector,
} from "./geometry.js";
import type { Series } from "./patient.js";
import { dragged, drawImage, drawMask, sampling, type Color, type Levels, type MaskStyle } from "./render.js";
import type { Slice, Volume } from "./volume.js";

export type Tool = "crosshair" | "window" | "pan" | "measure";
/** What a pane is to show. */
export interface Look {
  readonly at: Vector;
  readonly center: Vector;
  readonly span: number;
  readonly plane: Plane;
  readonly style: MaskStyle;
  readonly smooth: boolean;
  readonly crosshair: boolean;
  readonly levels: Levels;
  /** For each mask of the series, colors of the labels that are drawn. */
  readonly colors: readonly ReadonlyMap<number, Color>[];
  /** Colors of the labels of a model's mask that are drawn. */
  readonly predicted: ReadonlyMap<number, Color>;
  readonly tool: Tool;
}
/** What a person does in a pane. */
export interface PaneActions {
  moveTo(at: Vector): void;
  look(center: Vector, span: number): void;
  level(levels: Levels): void;
  focus(): void;
}

const PX = (value: number): string => `${Math.round(value * 10) / 10}px`;

export class Pane {
  readonly series: Series;
  readonly plane: Plane;
  readonly element: HTMLElement;
  readonly #view: PlaneView;
  readonly #canvas = h("canvas", { role: "img" });
  readonly #body: HTMLElement;
  readonly #lines = { across: h("div", { class: "line across" }), down: h("div", { class: "line down" }) };
  readonly #letters: Record<"left" | "right" | "top" | "bottom", HTMLElement>;
  readonly #ruler = h("div", { class: "ruler" });
  readonly #note = h("div", { class: "note" });
  /** For those who have neither wheel nor keys; viewer.css hides it from others. */
  readonly #slider = h("input", { type: "range", min: 0, class: "slider" });
  readonly #place = h("div", { class: "place" });
  readonly #tape = { line: h("div", { class: "tape" }), text: h("div", { class: "tape-text" }) };
  #drawn = false;
  readonly #actions: PaneActions;
  #look: Look | null = null;
  #measured: readonly [Vector, Vector] | null = null;
  readonly #slices = new Map<Volume, { key: string; slice: Slice }>();
  readonly #pointers = new Map<number, { x: number; y: number }>();

  constructor(series: Series, plane: Plane, title: string, actions: PaneActions) {
    this.series = series;
    this.plane = plane;
    this.#actions = actions;
    if (!series.scan.grid) throw new Error("a pane needs a scan");
    this.#view = series.scan.grid.view(plane);
    const letter = (where: string): HTMLElement => h("span", { class: `letter ${where}`, "aria-hidden": "true" });
    this.#letters = { left: letter("left"), right: letter("right"), top: letter("top"), bottom: letter("bottom") };
    this.#body = h(
      "div", { class: "body" }, this.#canvas, this.#lines.across, this.#lines.down, this.#tape.line, this.#tape.text,
      ...Object.values(this.#letters), this.#ruler, this.#place, this.#note,
    );
    const { status, maskStatus } = series.scan;
    const flags = [status !== "ok" ? status : "", maskStatus !== "ok" ? `mask: ${maskStatus}` : ""].filter(Boolean);
    this.element = h(
      "figure", { class: "pane", "data-sequence": title, "data-plane": plane },
      h("figcaption", {}, h("strong", {}, title), h("span", { class: "plane" }, plane), ...flags.map((flag) => h("span", { class: "flag" }, flag))),
      this.#body, this.#slider,
    );
    this.#slider.setAttribute("aria-label", `slice of ${title}, ${plane}`);
    this.#slider.max = String(series.scan.grid.count[this.#view.through] - 1);
    this.#listen();
  }

  get canvas(): HTMLCanvasElement {
    return this.#canvas;
  }

  get #size(): { width: number; height: number } {
    return { width: this.#body.clientWidth, height: this.#body.clientHeight };
  }

  /** The camera in pixels of the page; `ratio` device pixels are one of them. */
  #camera(look: Look, ratio = 1): Camera {
    const { width, height } = this.#size;
    return {
      center: look.center,
      pixelsPerMm: (ratio * Math.min(width, height)) / look.span,
      width: Math.round(width * ratio),
      height: Math.round(height * ratio),
    };
  }

  /** Index of the slice through a point, along the axis that runs through the plane; it may lie outside. */
  sliceIndex(at: Vector): number {
    return Math.round(this.series.scan.grid!.toIndex(at)[this.#view.through]);
  }

  /** The crosshair some slices further. */
  stepped(at: Vector, steps: number): Vector {
    const grid = this.series.scan.grid!;
    const { through } = this.#view;
    const index = grid.toIndex(at)[through];
    const last = grid.count[through] - 1;
    // upwards is towards head, left and back, however the voxels run
    const towards = Math.max(...grid.directions[through]) >= -Math.min(...grid.directions[through]) ? 1 : -1;
    return this.#atSlice(at, Math.min(Math.max(Math.round(index) + towards * steps, 0), last));
  }

  /** The crosshair in another slice. */
  #atSlice(at: Vector, slice: number): Vector {
    const grid = this.series.scan.grid!;
    const { through } = this.#view;
    return add(at, grid.directions[through], (slice - grid.toIndex(at)[through]) * grid.spacing[through]);
  }

  /** Whether what it is to show is drawn, or the pane says why it cannot be. */
  get drawn(): boolean {
    return this.#drawn;
  }

  draw(look: Look): void {
    this.#look = look;
    const { width, height } = this.#size;
    if (width < 2 || height < 2) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const camera = this.#camera(look, ratio);
    this.#canvas.width = camera.width;
    this.#canvas.height = camera.height;
    const context = this.#canvas.getContext("2d")!;
    const pixels = context.createImageData(camera.width, camera.height);
    const grid = this.series.scan.grid!;
    const index = this.sliceIndex(look.at);
    const outside = index < 0 || index >= grid.count[this.#view.through];
    new Uint32Array(pixels.data.buffer).fill(0xff000000);
    if (!outside) this.#drawVoxels(pixels.data, look, camera, index, ratio);
    context.putImageData(pixels, 0, 0);
    this.#drawMarks(look, index, outside);
  }

  #drawVoxels(pixels: Uint8ClampedArray, look: Look, camera: Camera, index: number, ratio: number): void {
    const at = sampling(this.series.scan.grid!, this.#view, camera);
    const { image, masks, predicted } = this.series;
    if (image) drawImage(pixels, this.#slice(image, index), at, look.levels, look.smooth);
    const layers = masks.map((mask, i) => ({ slice: this.#slice(mask, index), colors: look.colors[i] }));
    if (predicted?.whole) layers.push({ slice: this.#slice(predicted, index), colors: look.predicted });
    const drawn = new Uint8Array(layers.length > 1 ? camera.width * camera.height : 0);
    layers.forEach((layer) => {
      drawMask(pixels, layer, at, look.style, Math.max(1, Math.round(0.8 * ratio)), drawn);
    });
  }

  #slice(volume: Volume, index: number): Slice {
    const key = `${index} ${volume.version}`;
    const kept = this.#slices.get(volume);
    if (kept?.key === key) return kept.slice;
    const slice = volume.slice(this.#view, index);
    this.#slices.set(volume, { key, slice });
    return slice;
  }

  #drawMarks(look: Look, index: number, outside: boolean): void {
    const grid = this.series.scan.grid!;
    const camera = this.#camera(look);
    const [x, y] = project(look.at, this.#view, camera);
    this.#lines.across.hidden = this.#lines.down.hidden = !look.crosshair;
    this.#lines.across.style.top = PX(y);
    this.#lines.down.style.left = PX(x);
    this.#body.dataset["tool"] = look.tool;
    const { rightward, downward, through } = this.#view;
    this.#letters.left.textContent = side(scale(rightward, -1));
    this.#letters.right.textContent = side(rightward);
    this.#letters.top.textContent = side(scale(downward, -1));
    this.#letters.bottom.textContent = side(downward);
    const { knownSpacing, hasMask, maskStatus } = this.series.scan;
    const mm = rulerLength(camera.pixelsPerMm, camera.width);
    this.#ruler.style.width = PX(mm * camera.pixelsPerMm);
    this.#ruler.textContent = knownSpacing ? `${mm} mm` : `${mm} voxels?`;
    const count = grid.count[through];
    const value = this.series.image?.valueAt(grid.toIndex(look.at).map(Math.round)) ?? Number.NaN;
    const slice = outside ? "outside the scan" : `slice ${index + 1} of ${count}`;
    this.#place.textContent = Number.isNaN(value) ? slice : `${slice} · value\u00a0${number(value)}`;
    this.#note.textContent = this.#noteOf(index, outside);
    this.#note.hidden = this.#note.textContent === "";
    this.#drawn = this.#note.textContent !== LOADING;
    const mask = hasMask ? (look.style === "off" ? ", mask hidden" : `, mask as ${look.style}`) : `, no mask (${maskStatus})`;
    const predicted = this.series.predicted && look.style !== "off" ? ", with the prediction" : "";
    this.#canvas.setAttribute("aria-label", `${this.element.dataset["sequence"]}, ${this.plane}, ${slice}${mask}${predicted}`);
    this.element.dataset["slice"] = String(index);
    this.#slider.value = String(index);
    this.#drawTape(camera);
  }

  #noteOf(index: number, outside: boolean): string {
    const { image, problems, masks } = this.series;
    if (problems.length) return problems.map((one) => `${this.element.dataset["sequence"]}: ${one}`).join("\n");
    if (outside) return "The crosshair is outside this scan.";
    if (!image) return masks.length ? "" : "The store holds no image of it.";
    const here = this.#view.through === 2 ? image.hasSlice(index) : image.whole;
    return here ? "" : LOADING;
  }

  #drawTape(camera: Camera): void {
    const { line, text } = this.#tape;
    line.hidden = text.hidden = !this.#measured;
    if (!this.#measured) return;
    const [[x, y], [toX, toY]] = this.#measured.map((point) => project(point, this.#view, camera)) as [number, number][];
    line.style.left = PX(x);
    line.style.top = PX(y);
    line.style.width = PX(Math.hypot(toX - x, toY - y));
    line.style.transform = `rotate(${Math.atan2(toY - y, toX - x)}rad)`;
    text.style.left = PX(toX);
    text.style.top = PX(toY);
    text.textContent = `${number(length(subtract(this.#measured[1], this.#measured[0])), 1)} mm`;
  }

  #position(event: MouseEvent): { x: number; y: number } {
    const box = this.#body.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #pointAt({ x, y }: { x: number; y: number }): Vector {
    const look = this.#look!;
    return unproject(x, y, look.at, this.#view, this.#camera(look));
  }

  #listen(): void {
    const body = this.#body;
    body.addEventListener("contextmenu", (event) => event.preventDefault());
    body.addEventListener("dblclick", () => this.#actions.focus());
    body.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    body.addEventListener("pointerdown", (event) => this.#onDown(event));
    body.addEventListener("pointermove", (event) => this.#onMove(event));
    body.addEventListener("pointerup", (event) => this.#onUp(event));
    body.addEventListener("pointercancel", (event) => this.#pointers.delete(event.pointerId));
    this.#slider.addEventListener("input", () => {
      if (this.#look) this.#actions.moveTo(this.#atSlice(this.#look.at, Number(this.#slider.value)));
    });
  }

  #onWheel(event: WheelEvent): void {
    event.preventDefault();
    const look = this.#look;
    if (!look || !event.deltaY) return;
    if (event.ctrlKey || event.metaKey) this.#zoom(this.#position(event), Math.exp(event.deltaY / 300));
    else this.#actions.moveTo(this.stepped(look.at, event.deltaY < 0 ? 1 : -1));
  }

  /** Zoom so that the point under the pointer stays. */
  #zoom(position: { x: number; y: number }, factor: number): void {
    const look = this.#look!;
    const fixed = this.#pointAt(position);
    this.#actions.look(add(fixed, subtract(look.center, fixed), factor), look.span * factor);
  }

  #onDown(event: PointerEvent): void {
    if (!this.#look) return;
    this.#body.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#position(event));
    const tool = this.#toolOf(event);
    const point = this.#pointAt(this.#position(event));
    if (tool === "measure") this.#measured = [point, point];
    // a finger may only be about to scroll the page, or the first of two
    if (tool === "crosshair" && event.pointerType !== "touch" && this.#pointers.size === 1) this.#actions.moveTo(point);
  }

  #onUp(event: PointerEvent): void {
    const tapped = event.pointerType === "touch" && this.#pointers.size === 1 && this.#toolOf(event) === "crosshair";
    if (tapped && this.#look) this.#actions.moveTo(this.#pointAt(this.#position(event)));
    this.#pointers.delete(event.pointerId);
  }

  #toolOf(event: PointerEvent): Tool {
    if (event.buttons & 2) return "window";
    if (event.buttons & 4 || event.shiftKey) return "pan";
    return this.#look?.tool ?? "crosshair";
  }

  #onMove(event: PointerEvent): void {
    const before = this.#pointers.get(event.pointerId);
    if (!before || !this.#look) return;
    const now = this.#position(event);
    if (this.#pointers.size === 2) this.#pinch(event.pointerId, before, now);
    else if (!this.#mayScroll(event)) this.#drag(this.#toolOf(event), before, now);
    this.#pointers.set(event.pointerId, now);
  }

  /** Whether this finger may be scrolling the page, as viewer.css lets it where the pictures fill the screen. */
  #mayScroll(event: PointerEvent): boolean {
    return event.pointerType === "touch" && this.#toolOf(event) === "crosshair" && getComputedStyle(this.#body).touchAction === "pan-y";
  }

  #pinch(id: number, before: { x: number; y: number }, now: { x: number; y: number }): void {
    const [other] = [...this.#pointers].filter(([one]) => one !== id).map(([, position]) => position);
    const distance = (position: { x: number; y: number }): number => Math.hypot(position.x - other.x, position.y - other.y);
    if (distance(now) > 1) this.#zoom({ x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 }, distance(before) / distance(now));
  }

  #drag(tool: Tool, before: { x: number; y: number }, now: { x: number; y: number }): void {
    const look = this.#look!;
    if (tool === "crosshair") this.#actions.moveTo(this.#pointAt(now));
    if (tool === "pan") this.#actions.look(add(look.center, subtract(this.#pointAt(before), this.#pointAt(now))), look.span);
    if (tool === "measure" && this.#measured) {
      this.#measured = [this.#measured[0], this.#pointAt(now)];
      this.#drawTape(this.#camera(look));
    }
    if (tool === "window") {
      this.#actions.level(dragged(look.levels, now.x - before.x, now.y - before.y));
    }
  }
}
