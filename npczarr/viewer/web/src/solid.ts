// The masks of a sequence in three dimensions, turned by dragging.
import { h, LOADING, number } from "./dom.js";
import { add, dot, rulerLength, scale, side, subtract, type Vector } from "./geometry.js";
import { facesOf, type Face } from "./faces.js";
import type { Series } from "./patient.js";
import type { Color, MaskStyle } from "./render.js";
import type { Volume } from "./volume.js";

/** Degrees around the long axis of the body, and above the horizon; 0, 0 looks at the patient's face. */
export type Turn = readonly [number, number];
export interface SolidLook {
  readonly turn: Turn;
  /** Millimeters across the smaller side; null: the masks fill it. */
  readonly span: number | null;
  readonly style: MaskStyle;
  readonly colors: readonly ReadonlyMap<number, Color>[];
  readonly predicted: ReadonlyMap<number, Color>;
}
export interface SolidActions {
  turn(turn: Turn): void;
  zoom(span: number): void;
  focus(): void;
}

const AXES: readonly Vector[] = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]];
const PER_PIXEL = 0.5; // degrees

/** Unit vectors of the screen: to the right, downwards, and away from who looks. */
export function screenOf([around, above]: Turn): { right: Vector; down: Vector; into: Vector } {
  const [yaw, pitch] = [(around * Math.PI) / 180, (above * Math.PI) / 180];
  const level: Vector = [-Math.sin(yaw), Math.cos(yaw), 0];
  const up: Vector = [0, 0, 1];
  return {
    right: [Math.cos(yaw), Math.sin(yaw), 0],
    down: add(scale(up, -Math.cos(pitch)), level, -Math.sin(pitch)),
    into: add(scale(level, Math.cos(pitch)), up, -Math.sin(pitch)),
  };
}

/** A turn by some degrees; never over the head. */
export function turned([around, above]: Turn, right: number, up: number): Turn {
  const wrapped = (((around + right) % 360) + 360) % 360;
  return [wrapped, Math.min(Math.max(above + up, -90), 90)];
}

export class Solid {
  readonly series: Series;
  readonly element: HTMLElement;
  readonly #canvas = h("canvas", { role: "img" });
  readonly #ruler = h("div", { class: "ruler" });
  readonly #note = h("div", { class: "note" });
  readonly #body = h("div", { class: "body", "data-tool": "pan" }, this.#canvas, this.#ruler, this.#note);
  #drawn = false;
  readonly #actions: SolidActions;
  readonly #kept = new Map<Volume, { key: string; faces: Face[] }>();
  #look: SolidLook | null = null;
  #span = 100;
  #pointer: { id: number; x: number; y: number } | null = null;

  constructor(series: Series, title: string, actions: SolidActions) {
    this.series = series;
    this.#actions = actions;
    this.element = h(
      "figure", { class: "pane", "data-sequence": title, "data-plane": "3-D" },
      h("figcaption", {}, h("strong", {}, title), h("span", { class: "plane" }, "masks in 3-D, voxels as they are")), this.#body,
    );
    this.#listen();
  }

  get canvas(): HTMLCanvasElement {
    return this.#canvas;
  }

  /** Millimeters across the smaller side of the picture that was drawn last. */
  get span(): number {
    return this.#span;
  }

  /** Whether what it is to show is drawn, or the pane says why it cannot be. */
  get drawn(): boolean {
    return this.#drawn;
  }

  draw(look: SolidLook): void {
    this.#look = look;
    const { clientWidth: width, clientHeight: height } = this.#body;
    if (width < 2 || height < 2) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const context = this.#canvas.getContext("2d")!;
    context.scale(ratio, ratio);
    const faces = look.style === "off" ? [] : this.#faces(look);
    const { middle, extent } = boxOf(faces);
    this.#span = look.span ?? extent * 1.25;
    const pixelsPerMm = Math.min(width, height) / this.#span;
    const screen = screenOf(look.turn);
    const at = (point: Vector): [number, number] => {
      const from = subtract(point, middle);
      return [width / 2 + pixelsPerMm * dot(from, screen.right), height / 2 + pixelsPerMm * dot(from, screen.down)];
    };
    paint(context, faces, screen.into, at);
    const ends = AXES.filter((axis) => faces.length && dot(axis, screen.into) < 0.95); // none behind the masks
    letters(context, ends.map((axis) => [side(axis), at(add(middle, axis, extent * 0.55))] as const));
    const mm = rulerLength(pixelsPerMm, width);
    this.#ruler.style.width = `${mm * pixelsPerMm}px`;
    this.#ruler.textContent = `${mm} mm`;
    this.#ruler.hidden = !faces.length;
    this.#note.textContent = this.series.problems.join("\n") || (faces.length ? "" : this.#why(look));
    this.#note.hidden = this.#note.textContent === "";
    this.#drawn = this.#note.textContent !== LOADING;
    const [around, above] = look.turn.map((degrees) => number(degrees, 0));
    this.#canvas.setAttribute("aria-label",
      `${this.element.dataset["sequence"]}, masks in three dimensions, turned by ${around}°, seen from ${above}° above`);
  }

  #why({ style }: SolidLook): string {
    const { masks, predicted } = this.series;
    if (!masks.length && !predicted) return "There is no mask of it.";
    if (style === "off") return "Masks are switched off (M).";
    return [...masks, predicted].some((mask) => mask && !mask.whole) ? LOADING : "The masks that are drawn are empty.";
  }

  #faces(look: SolidLook): Face[] {
    const { masks, predicted } = this.series;
    const layers = masks.map((mask, i) => [mask, look.colors[i]] as const);
    if (predicted) layers.push([predicted, look.predicted]);
    return layers.flatMap(([mask, colors]) => (mask.whole ? this.#facesOf(mask, colors) : []));
  }

  #facesOf(mask: Volume, colors: ReadonlyMap<number, Color>): Face[] {
    const key = `${mask.version} ${[...colors.keys()].join(",")}`;
    const kept = this.#kept.get(mask);
    if (kept?.key === key) return kept.faces;
    const faces = facesOf(mask, colors);
    this.#kept.set(mask, { key, faces });
    return faces;
  }

  #listen(): void {
    const body = this.#body;
    body.addEventListener("dblclick", () => this.#actions.focus());
    body.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#actions.zoom(this.#span * Math.exp(event.deltaY / 600));
    }, { passive: false });
    body.addEventListener("pointerdown", (event) => {
      body.setPointerCapture(event.pointerId);
      this.#pointer = { id: event.pointerId, x: event.clientX, y: event.clientY };
    });
    body.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const name of ["pointerup", "pointercancel"] as const) body.addEventListener(name, () => (this.#pointer = null));
  }

  #onMove(event: PointerEvent): void {
    const before = this.#pointer;
    if (!before || before.id !== event.pointerId || !this.#look) return;
    const [right, down] = [event.clientX - before.x, event.clientY - before.y];
    this.#pointer = { id: before.id, x: event.clientX, y: event.clientY };
    this.#actions.turn(turned(this.#look.turn, -right * PER_PIXEL, down * PER_PIXEL));
  }
}

/** The middle of all faces, and the diagonal of the box around them in mm. */
function boxOf(faces: readonly Face[]): { middle: Vector; extent: number } {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (const { middle } of faces)
    for (let axis = 0; axis < 3; axis++) {
      low[axis] = Math.min(low[axis], middle[axis]);
      high[axis] = Math.max(high[axis], middle[axis]);
    }
  if (!faces.length) return { middle: [0, 0, 0], extent: 100 };
  const middle = low.map((value, axis) => (value + high[axis]) / 2) as unknown as Vector;
  return { middle, extent: Math.max(Math.hypot(...high.map((value, axis) => value - low[axis])), 5) };
}

/** Paint the faces that are turned to who looks, the farthest first, the brighter the more they are. */
function paint(
  context: CanvasRenderingContext2D, faces: readonly Face[], into: Vector, at: (point: Vector) => [number, number],
): void {
  const seen = faces.filter(({ normal }) => dot(normal, into) < -1e-6);
  const far = new Map(seen.map((one) => [one, dot(one.middle, into)]));
  seen.sort((one, other) => far.get(other)! - far.get(one)!);
  for (const { corners, normal, color } of seen) {
    const light = 0.35 - 0.65 * dot(normal, into);
    context.fillStyle = context.strokeStyle = `rgb(${color.map((value) => Math.round(value * light)).join(" ")})`;
    context.beginPath();
    corners.forEach((corner, i) => (i ? context.lineTo(...at(corner)) : context.moveTo(...at(corner))));
    context.closePath();
    context.fill();
    context.stroke(); // no gaps between neighbors
  }
}

function letters(context: CanvasRenderingContext2D, places: readonly (readonly [string, [number, number]])[]): void {
  context.font = "bold 13px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = "#ffe08a";
  for (const [letter, [x, y]] of places) context.fillText(letter, x, y);
}
