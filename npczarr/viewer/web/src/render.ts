// Draws one plane of a scan into pixels. No interpolation runs across slices, and outlines run along the edges of voxels.
import type { Camera, Grid, PlaneView } from "./geometry.js";
import { dot } from "./geometry.js";
import type { Slice } from "./volume.js";

/** Gray levels: `low` is black, `high` is white. */
export interface Levels {
  readonly low: number;
  readonly high: number;
}
export type Color = readonly [number, number, number];
export type MaskStyle = "outline" | "fill" | "off";

/** One mask to be drawn: a color for each label that is shown. */
export interface Layer {
  readonly slice: Slice;
  readonly colors: ReadonlyMap<number, Color>;
}

const BACKGROUND = 0;
const DASH = 5; // px
const FILL = 0.4; // share of the color where a mask is filled
/** Distinct for color-blind readers, and bright on gray. */
const PALETTE: readonly Color[] = [
  [255, 92, 57], [64, 200, 255], [255, 210, 63], [214, 130, 255], [94, 224, 122], [255, 150, 200], [150, 160, 255], [230, 230, 230],
];
export const colorOf = (i: number): Color => PALETTE[i % PALETTE.length];

/** For each pixel along one side of a pane, the voxel index along the axis that runs there. */
function indices(grid: Grid, axis: number, forward: number, center: number, camera: Camera, pixels: number): Float64Array {
  const step = forward / (camera.pixelsPerMm * grid.spacing[axis]);
  return Float64Array.from({ length: pixels }, (_, pixel) => center + (pixel + 0.5 - pixels / 2) * step);
}

/** The voxel index under each column and each row of a pane. */
export function sampling(grid: Grid, view: PlaneView, camera: Camera): { columns: Float64Array; rows: Float64Array } {
  const center = grid.toIndex(camera.center);
  const sign = (direction: PlaneView["rightward"], axis: number): number => Math.sign(dot(direction, grid.directions[axis]));
  return {
    columns: indices(grid, view.across, sign(view.rightward, view.across), center[view.across], camera, camera.width),
    rows: indices(grid, view.down, sign(view.downward, view.down), center[view.down], camera, camera.height),
  };
}

/** Draw a slice in gray; what is outside the scan is black. */
export function drawImage(
  pixels: Uint8ClampedArray,
  slice: Slice,
  at: { columns: Float64Array; rows: Float64Array },
  levels: Levels,
  smooth: boolean,
): void {
  const { columns, rows } = at;
  const { values, width, height } = slice;
  const gain = 255 / (levels.high - levels.low || 1);
  const inside = (index: number, count: number): boolean => index >= -0.5 && index < count - 0.5;
  for (let row = 0, pixel = 0; row < rows.length; row++) {
    const y = rows[row];
    const known = inside(y, height);
    const y0 = Math.min(Math.max(smooth ? Math.floor(y) : Math.round(y), 0), height - 1);
    const y1 = Math.min(y0 + 1, height - 1);
    const fy = smooth ? Math.min(Math.max(y - y0, 0), 1) : 0;
    for (let column = 0; column < columns.length; column++, pixel += 4) {
      const x = columns[column];
      let gray = BACKGROUND;
      if (known && inside(x, width)) {
        const x0 = Math.min(Math.max(smooth ? Math.floor(x) : Math.round(x), 0), width - 1);
        let value = values[y0 * width + x0];
        if (smooth) {
          const x1 = Math.min(x0 + 1, width - 1);
          const fx = Math.min(Math.max(x - x0, 0), 1);
          const upper = value + fx * (values[y0 * width + x1] - value);
          const lower = values[y1 * width + x0] + fx * (values[y1 * width + x1] - values[y1 * width + x0]);
          value = upper + fy * (lower - upper);
        }
        gray = (value - levels.low) * gain; // NaN is black
      }
      pixels[pixel] = pixels[pixel + 1] = pixels[pixel + 2] = gray;
      pixels[pixel + 3] = 255;
    }
  }
}

/**
 * Draw a mask over what is there: outlines reach `reach` pixels to both sides of the edge of the voxels. `drawn` marks
 * the pixels of outlines, so that where those of two raters meet both are seen, in dashes.
 */
export function drawMask(
  pixels: Uint8ClampedArray,
  layer: Layer,
  at: { columns: Float64Array; rows: Float64Array },
  style: MaskStyle,
  reach: number,
  drawn?: Uint8Array,
): void {
  if (style === "off") return;
  const labels = labelsOf(layer.slice, at);
  const [width, height] = [at.columns.length, at.rows.length];
  for (let y = 0, here = 0; y < height; y++)
    for (let x = 0; x < width; x++, here++) {
      const label = labels[here];
      const other = differing(labels, x, y, width, height, reach);
      const edge = layer.colors.get(label) ?? (other > 0 ? layer.colors.get(other) : undefined);
      if (other >= 0 && edge) {
        if (!drawn?.[here] || ((x + y) / DASH) & 1) paint(pixels, 4 * here, edge, 1);
        if (drawn) drawn[here] = 1;
      }
      else if (style === "fill" && label && layer.colors.has(label)) paint(pixels, 4 * here, layer.colors.get(label)!, FILL);
    }
}

/** Another label above, below or beside a pixel, the largest of them; -1 where all are the same. */
function differing(labels: Uint8Array, x: number, y: number, width: number, height: number, reach: number): number {
  const here = y * width + x;
  const label = labels[here];
  let found = -1;
  for (let step = 1; step <= reach; step++) {
    if (x >= step && labels[here - step] !== label) found = Math.max(found, labels[here - step]);
    if (x + step < width && labels[here + step] !== label) found = Math.max(found, labels[here + step]);
    if (y >= step && labels[here - step * width] !== label) found = Math.max(found, labels[here - step * width]);
    if (y + step < height && labels[here + step * width] !== label) found = Math.max(found, labels[here + step * width]);
  }
  return found;
}

function paint(pixels: Uint8ClampedArray, at: number, color: Color, share: number): void {
  for (let channel = 0; channel < 3; channel++)
    pixels[at + channel] = share * color[channel] + (1 - share) * pixels[at + channel];
}

/** The label under each pixel: of the nearest voxel, 0 outside. */
function labelsOf({ values, width, height }: Slice, { columns, rows }: { columns: Float64Array; rows: Float64Array }): Uint8Array {
  const found = new Uint8Array(columns.length * rows.length);
  const x = Int32Array.from(columns, (index) => (index >= -0.5 && index < width - 0.5 ? Math.round(index) : -1));
  for (let row = 0; row < rows.length; row++) {
    const y = Math.round(rows[row]);
    if (!(rows[row] >= -0.5 && rows[row] < height - 0.5)) continue;
    for (let column = 0; column < x.length; column++)
      if (x[column] >= 0) found[row * x.length + column] = values[y * width + x[column]];
  }
  return found;
}

/** Percentiles of a slice, from 0 to 100; of at most some 20 000 of its values. */
export function percentiles(slice: Slice, wanted: readonly number[]): number[] {
  const step = Math.max(1, Math.floor(slice.values.length / 20_000));
  const sample: number[] = [];
  for (let i = 0; i < slice.values.length; i += step) if (Number.isFinite(slice.values[i])) sample.push(slice.values[i]);
  sample.sort((a, b) => a - b);
  if (!sample.length) return wanted.map(() => 0);
  return wanted.map((percent) => sample[Math.round((percent / 100) * (sample.length - 1))]);
}

export interface Preset {
  readonly name: string;
  readonly percent?: readonly [number, number];
  readonly levels?: Levels;
}
export const PRESETS: readonly Preset[] = [
  { name: "Auto (1–99.5 %)", percent: [1, 99.5] },
  { name: "Full range", percent: [0, 100] },
  { name: "High contrast (10–95 %)", percent: [10, 95] },
  { name: "Bright tissue (50–99.9 %)", percent: [50, 99.9] },
];
export const CT_PRESETS: readonly Preset[] = [
  { name: "CT soft tissue", levels: { low: -160, high: 240 } },
  { name: "CT brain", levels: { low: 0, high: 80 } },
  { name: "CT bone", levels: { low: -400, high: 1400 } },
  { name: "CT lung", levels: { low: -1350, high: 150 } },
];

/** Gray levels after a drag by so many pixels: to the right wider, down darker. */
export function dragged({ low, high }: Levels, right: number, down: number): Levels {
  const step = (high - low || 1) / 250;
  const half = Math.max((high - low + right * step) / 2, step);
  const middle = (high + low) / 2 + down * step;
  return { low: middle - half, high: middle + half };
}

/** The gray levels of a preset for a slice. */
export function levelsOf(preset: Preset, slice: Slice): Levels {
  if (preset.levels) return preset.levels;
  const [low, high] = percentiles(slice, preset.percent ?? [0, 100]);
  return { low, high: high > low ? high : low + 1 };
}
