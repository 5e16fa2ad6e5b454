// Every key of the page.
import type { Viewer } from "./viewer.js";

const KEYS: Record<string, (viewer: Viewer) => void> = {
  ArrowLeft: (viewer) => viewer.step(-1),
  ArrowRight: (viewer) => viewer.step(1),
  k: (viewer) => viewer.step(-1),
  j: (viewer) => viewer.step(1),
  ArrowUp: (viewer) => viewer.slice(1),
  ArrowDown: (viewer) => viewer.slice(-1),
  PageUp: (viewer) => viewer.slice(5),
  PageDown: (viewer) => viewer.slice(-5),
  "1": (viewer) => viewer.set({ layout: "sequences", center: null, span: null }, true),
  "2": (viewer) => viewer.set({ layout: "planes", center: null, span: null }, true),
  "3": (viewer) => viewer.set({ layout: "grid", center: null, span: null }, true),
  "4": (viewer) => viewer.set({ layout: "solid", center: null, span: null }, true),
  q: (viewer) => viewer.nextSequence(-1),
  e: (viewer) => viewer.nextSequence(1),
  a: (viewer) => viewer.set({ plane: "axial" }, true),
  c: (viewer) => viewer.set({ plane: "coronal" }, true),
  s: (viewer) => viewer.set({ plane: "sagittal" }, true),
  m: (viewer) => viewer.toggleMask(),
  o: (viewer) => viewer.set({ style: "outline" }),
  f: (viewer) => viewer.set({ style: "fill" }),
  "+": (viewer) => viewer.zoom(0.8),
  "=": (viewer) => viewer.zoom(0.8),
  "-": (viewer) => viewer.zoom(1.25),
  "0": (viewer) => viewer.set({ center: null, span: null }),
  x: (viewer) => viewer.pick("crosshair"),
  w: (viewer) => viewer.pick("window"),
  p: (viewer) => viewer.pick("pan"),
  d: (viewer) => viewer.pick("measure"),
  "[": (viewer) => viewer.brighten(-0.05),
  "]": (viewer) => viewer.brighten(0.05),
  r: (viewer) => viewer.set({ levels: new Map() }),
  g: (viewer) => viewer.toTumor(),
  i: (viewer) => viewer.set({ smooth: !viewer.state.smooth }),
  h: (viewer) => viewer.set({ crosshair: !viewer.state.crosshair }),
  l: (viewer) => viewer.toggleList(),
  "/": (viewer) => viewer.find(),
  y: (viewer) => viewer.accept(),
  n: (viewer) => viewer.exclude(),
  ".": (viewer) => viewer.toReview(),
  t: (viewer) => viewer.theme(),
  "?": (viewer) => viewer.showHelp(),
};

/** Keys that decide: held down, they would go on deciding on what nobody has looked at. */
const ONCE = ["y", "n"];

/** Do what a key is for, unless it is being typed into a field. */
export function onKey(event: KeyboardEvent, viewer: Viewer): void {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (target.closest("dialog")) return;
  if (target.closest("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") viewer.root.focus();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = KEYS[key];
  if (!act) return;
  event.preventDefault();
  event.stopPropagation(); // a notebook has keys of its own
  if (!(event.repeat && ONCE.includes(key))) act(viewer);
}
