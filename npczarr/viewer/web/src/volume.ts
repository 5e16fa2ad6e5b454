// The voxels of one scan, or of one rater's mask, assembled in memory as its chunks arrive.
import { createXXHash128 } from "hash-wasm";
import { reason } from "./codecs.js";
import type { Grid, PlaneView } from "./geometry.js";

export type Voxels = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array;
/** What a volume reads its chunks from: an array of the store, or what looks like one. */
export interface Chunked {
  readonly dtype: string;
  readonly chunks: readonly number[];
  readonly path: string;
  readonly store: { readonly absent: ReadonlySet<string> };
  getChunk(at: number[]): Promise<{ readonly data: unknown; readonly stride: readonly number[]; readonly message?: string }>;
}
const TYPES = {
  int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, float32: Float32Array, float64: Float64Array,
} as const;

/** One plane of a volume, rows of numbers as the voxel axes run. */
export interface Slice {
  readonly values: Float32Array;
  readonly width: number;
  readonly height: number;
}

export class Volume {
  readonly grid: Grid;
  readonly data: Voxels;
  /** Objects that are not in the store: damage, or left out by the program that copied it. */
  readonly absent: string[] = [];
  /** Grows whenever voxels arrive. */
  version = 0;
  /** What must be known of it before it is trusted. */
  message = "";
  /** Why it cannot be read. */
  problem = "";
  readonly #array: Chunked;
  readonly #place: readonly number[];
  readonly #count: readonly [number, number, number];
  readonly #chunks = new Map<string, Promise<void>>();
  readonly #here: Uint8Array;
  readonly #needed: Uint8Array;
  readonly #padding: number;
  #scaling: { slope: ArrayLike<number>; intercept: ArrayLike<number> } | null = null;

  /**
   * @param place index of patient and sequence, and of the rater where there are several
   * @param padding stored value outside the field of view, which is no value; NaN where there is none
   */
  constructor(array: Chunked, place: readonly number[], grid: Grid, padding = Number.NaN) {
    const type = TYPES[array.dtype as keyof typeof TYPES];
    if (!type) throw new Error(`voxels of type ${array.dtype} cannot be shown`);
    this.#array = array;
    this.#place = place;
    this.#padding = padding;
    this.grid = grid;
    const [x, y, z] = grid.count;
    this.#count = [z, y, x];
    this.data = new type(x * y * z);
    this.#here = new Uint8Array(z);
    const [, rows, columns] = this.#chunkShape;
    this.#needed = new Uint8Array(z).fill(Math.ceil(y / rows) * Math.ceil(x / columns));
  }

  get #chunkShape(): [number, number, number] {
    return this.#array.chunks.slice(-3) as [number, number, number];
  }

  get bytes(): number {
    return this.data.byteLength;
  }

  /** Real value = slope * stored value + intercept, for each slice. */
  set scaling(found: { slope: ArrayLike<number>; intercept: ArrayLike<number> }) {
    const depth = this.#count[0];
    const changes = Array.from({ length: depth }, (_, k) => found.slope[k] !== 1 || found.intercept[k] !== 0);
    const known = Array.from({ length: depth }, (_, k) => Number.isFinite(found.slope[k] + found.intercept[k]));
    this.#scaling = changes.includes(true) && !known.includes(false) ? found : null;
    this.version++;
  }

  /** Whether all chunks of a slice are here. */
  hasSlice(k: number): boolean {
    return this.#here[k] >= this.#needed[k];
  }

  get whole(): boolean {
    return this.#here.every((found, k) => found >= this.#needed[k]);
  }

  /** Read the chunks that hold slice k. */
  async loadSlice(k: number): Promise<void> {
    const [depth, rows, columns] = this.#chunkShape;
    const at = Math.floor(k / depth);
    const loads: Promise<void>[] = [];
    for (let j = 0; j * rows < this.#count[1]; j++)
      for (let i = 0; i * columns < this.#count[2]; i++) loads.push(this.#loadChunk([at, j, i]));
    await Promise.all(loads);
  }

  /** Read everything, from slice k outwards. */
  async load(k = 0): Promise<void> {
    const depth = this.#chunkShape[0];
    const chunks = Array.from({ length: Math.ceil(this.#count[0] / depth) }, (_, c) => c * depth);
    chunks.sort((a, b) => Math.abs(a + depth / 2 - k) - Math.abs(b + depth / 2 - k));
    await Promise.all(chunks.map((first) => this.loadSlice(first)));
  }

  #loadChunk(at: readonly [number, number, number]): Promise<void> {
    const name = at.join("/");
    let running = this.#chunks.get(name);
    if (!running) {
      running = this.#readChunk(at).catch((error: Error) => {
        this.#chunks.delete(name); // the next look tries again
        this.problem = error.message;
        throw error;
      });
      this.#chunks.set(name, running);
    }
    return running;
  }

  async #readChunk(at: readonly [number, number, number]): Promise<void> {
    const sizes = this.#array.chunks;
    const place = this.#place.map((index, axis) => Math.floor(index / sizes[axis]));
    const store = this.#array.store;
    const before = store.absent.size;
    const chunk = await this.#array.getChunk([...place, ...at]).catch((error: unknown) => {
      throw new Error(`${this.#array.path.slice(1)}/c/${[...place, ...at].join("/")}: ${reason(error)}`);
    });
    if (store.absent.size > before) {
      const folder = this.#array.path.replace(/^\/+/, "");
      const key = [...store.absent].find((one) => one.startsWith(`${folder}/`) && one.endsWith([...place, ...at].join("/")));
      if (key) this.absent.push(key);
    }
    const lead = this.#place.reduce((sum, index, axis) => sum + (index % sizes[axis]) * chunk.stride[axis], 0);
    this.message = chunk.message ?? "";
    this.#copy(chunk.data as Voxels, lead, chunk.stride.slice(-3), at);
    this.problem = "";
    this.version++;
  }

  #copy(from: Voxels, lead: number, stride: readonly number[], at: readonly [number, number, number]): void {
    const size = this.#chunkShape;
    const first = at.map((index, axis) => index * size[axis]);
    const stop = first.map((start, axis) => Math.min(start + size[axis], this.#count[axis]));
    const [, rows, columns] = this.#count;
    const target = this.data as Float32Array;
    for (let z = first[0]; z < stop[0]; z++) {
      for (let y = first[1]; y < stop[1]; y++) {
        const source = lead + (z - first[0]) * stride[0] + (y - first[1]) * stride[1];
        const row = (z * rows + y) * columns;
        if (stride[2] === 1) {
          target.set(from.subarray(source, source + stop[2] - first[2]) as Float32Array, row + first[2]);
        } else {
          for (let x = first[2]; x < stop[2]; x++) target[row + x] = from[source + (x - first[2]) * stride[2]];
        }
      }
      this.#here[z]++;
    }
  }

  /** Real value of a voxel (x, y, z); NaN outside the scan and outside its field of view. */
  valueAt(index: readonly number[]): number {
    const [z, y, x] = this.#count;
    const [i, j, k] = index;
    if (i < 0 || j < 0 || k < 0 || i >= x || j >= y || k >= z || !this.hasSlice(k)) return Number.NaN;
    return this.#real(this.data[(k * y + j) * x + i], k);
  }

  #real(value: number, k: number): number {
    if (value === this.#padding) return Number.NaN;
    return this.#scaling ? value * this.#scaling.slope[k] + this.#scaling.intercept[k] : value;
  }

  /** The plane of real values at an index of the axis that runs through it. */
  slice(view: PlaneView, at: number): Slice {
    const [z, y, x] = this.#count;
    const steps = [1, x, x * y];
    const counts = [x, y, z];
    const [width, height] = [counts[view.across], counts[view.down]];
    const [across, down] = [steps[view.across], steps[view.down]];
    const values = new Float32Array(width * height);
    const start = at * steps[view.through];
    for (let row = 0; row < height; row++) {
      let source = start + row * down;
      for (let column = 0; column < width; column++, source += across) values[row * width + column] = this.data[source];
    }
    if (this.#scaling || !Number.isNaN(this.#padding)) this.#rescale(values, view, at, width);
    return { values, width, height };
  }

  #rescale(values: Float32Array, view: PlaneView, at: number, width: number): void {
    for (let i = 0; i < values.length; i++) {
      const k = view.through === 2 ? at : view.across === 2 ? i % width : Math.floor(i / width);
      values[i] = this.#real(values[i], k);
    }
  }
}

/** XXH3-128 of volumes one after the other, as the store's digests are computed. */
export async function digest(volumes: readonly Volume[]): Promise<string> {
  const hash = await createXXHash128();
  hash.init();
  for (const { data } of volumes) hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return hash.digest("hex");
}

/** Where most of a mask is: the slice along z with most voxels of any label, and their middle (x, y); null if empty. */
export function largestSlice(mask: Volume): { readonly index: readonly [number, number, number]; readonly voxels: number } | null {
  const [x, y, z] = mask.grid.count;
  let best = { at: -1, voxels: 0 };
  for (let k = 0; k < z; k++) {
    let voxels = 0;
    for (let i = k * x * y; i < (k + 1) * x * y; i++) if (mask.data[i]) voxels++;
    if (voxels > best.voxels) best = { at: k, voxels };
  }
  if (best.at < 0) return null;
  const sum = [0, 0];
  for (let j = 0; j < y; j++)
    for (let i = 0; i < x; i++)
      if (mask.data[(best.at * y + j) * x + i]) {
        sum[0] += i;
        sum[1] += j;
      }
  return { index: [Math.round(sum[0] / best.voxels), Math.round(sum[1] / best.voxels), best.at], voxels: best.voxels };
}

/** Largest extent of a mask along a voxel axis, in mm; 0 if it is empty. */
export function extent(mask: Volume): number {
  const [x, y] = mask.grid.count;
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  mask.data.forEach((value, i) => {
    if (!value) return;
    [i % x, Math.floor(i / x) % y, Math.floor(i / (x * y))].forEach((index, axis) => {
      low[axis] = Math.min(low[axis], index);
      high[axis] = Math.max(high[axis], index);
    });
  });
  return Math.max(0, ...low.map((first, axis) => (high[axis] - first + 1) * mask.grid.spacing[axis]).filter(Number.isFinite));
}
