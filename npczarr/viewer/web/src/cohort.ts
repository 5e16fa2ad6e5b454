// A store as the page knows it: its metadata, its tables, and the place of every scan.
import * as zarr from "zarrita";
import { reason } from "./codecs.js";
import { Grid } from "./geometry.js";
import type { ObjectSource } from "./objects.js";
import { ReadError } from "./read.js";

const SCHEMA = 2;
export const STORED = ["ok", "warning"];
/** Tables without which no picture is drawn. */
const FIRST = ["patient", "sequence", "status", "mask_status", "message", "shape", "spacing", "affine"];
const SECOND = ["image_digest", "mask_digest", "frame_digest", "mask_voxels"];
/** Dimensions of results of which each entry is a value of its own; arrays beside the result name the entries. */
const SPREAD = ["pair", "rater", "label"];
const REVIEW = "review/"; // what reviewers decided: the server gives it, and says whether it still holds

type Values = ArrayLike<number> & { [index: number]: number };
export interface Table {
  readonly name: string;
  readonly dims: readonly string[];
  readonly shape: readonly number[];
  readonly values: string[] | Values;
  readonly units: string;
  readonly meaning: string;
}
interface Metadata {
  readonly node_type?: string;
  readonly shape?: number[];
  readonly data_type?: unknown;
  readonly dimension_names?: string[];
  readonly attributes?: Record<string, unknown>;
  readonly consolidated_metadata?: { readonly metadata?: Record<string, Metadata> };
}

export interface Scan {
  readonly patient: number;
  readonly sequence: number;
  readonly label: string;
  readonly status: string;
  readonly maskStatus: string;
  readonly message: string;
  readonly grid: Grid | null;
  readonly problem: string;
  readonly knownSpacing: boolean;
  readonly hasImage: boolean;
  readonly hasMask: boolean;
  readonly imageDigest: string;
  readonly maskDigest: string;
  readonly frame: string;
}

/** A store that is open. */
export class Cohort {
  readonly attributes: Record<string, unknown>;
  readonly patients: string[] = [];
  readonly sequences: string[] = [];
  raters: string[] = [];
  readonly #store: MetadataStore;
  readonly #arrays = new Map<string, Promise<zarr.Array<zarr.DataType, MetadataStore>>>();
  readonly #tables = new Map<string, Table>();
  readonly #chunks = new Map<string, Promise<zarr.Chunk<zarr.DataType>>>();

  private constructor(store: MetadataStore) {
    this.#store = store;
    this.attributes = store.root.attributes ?? {};
  }

  /** Open a store and read the tables that pictures need, all at once. */
  static async open(source: ObjectSource): Promise<Cohort> {
    const cohort = new Cohort(await MetadataStore.open(source));
    const found = cohort.attributes["npczarr_schema"];
    if (found !== SCHEMA) throw new ReadError(`no cohort store of schema version ${SCHEMA} is here`);
    const names = [...FIRST, ...SECOND, ...(cohort.has("rater") ? ["rater"] : [])];
    await Promise.all(names.map((name) => cohort.load(name)));
    cohort.patients.push(...cohort.texts("patient"));
    cohort.sequences.push(...cohort.texts("sequence"));
    if (cohort.has("rater")) cohort.raters = cohort.texts("rater");
    return cohort;
  }

  has(name: string): boolean {
    return this.#store.members.has(name);
  }

  /** Tables that can be read in one go: of patients or scans, also with a value for each label, rater or pair of raters;
   * results have their group's name. */
  columns(): string[] {
    return [...this.#store.members]
      .filter(([name, about]) => {
        const dims = about.dimension_names ?? [];
        const named = dims.slice(2).every((dim) => SPREAD.includes(dim) && this.has(beside(name, dim)));
        const plain = dims[0] === "patient" && (dims.length === 1 || dims[1] === "sequence") && named;
        return about.node_type === "array" && plain && name.split("/").pop() !== "patient" && !name.startsWith(REVIEW);
      })
      .map(([name]) => name);
  }

  /** Arrays that name the entries of those tables, such as `morphology/label`. */
  entryNames(): string[] {
    const dims = (name: string): string[] => this.#store.members.get(name)?.dimension_names?.slice(2) ?? [];
    return [...new Set(this.columns().flatMap((name) => dims(name).map((dim) => beside(name, dim))))];
  }

  /** The labels that a result was measured of, where it says so. */
  labelsMeasured(group: string): string[] {
    const found = this.#store.members.get(group)?.attributes?.["labels"];
    return Array.isArray(found) ? found.map(String) : [];
  }

  array(name: string): Promise<zarr.Array<zarr.DataType, MetadataStore>> {
    let found = this.#arrays.get(name);
    if (!found) {
      found = zarr.open.v3(new zarr.Location(this.#store, `/${name}`), { kind: "array" });
      this.#arrays.set(name, found);
    }
    return found;
  }

  /** Read a table whole, once. */
  async load(name: string): Promise<Table> {
    const known = this.#tables.get(name);
    if (known) return known;
    const array = await this.array(name);
    const about = this.#store.members.get(name);
    const { data } = await zarr.get(array).catch((error: unknown) => {
      throw new ReadError(`the table ${name} cannot be read: ${reason(error)}`);
    });
    const table: Table = {
      name,
      dims: about?.dimension_names ?? [],
      shape: array.shape,
      values: typeof (data as ArrayLike<unknown>)[0] === "string" ? Array.from(data as Iterable<string>) : numbers(data),
      units: text(about?.attributes?.["units"]),
      meaning: text(about?.attributes?.["long_name"]),
    };
    this.#tables.set(name, table);
    return table;
  }

  /** A table that was read before. */
  table(name: string): Table | undefined {
    return this.#tables.get(name);
  }

  texts(name: string): string[] {
    return Array.from(this.#tables.get(name)?.values ?? [], String);
  }

  /** What a table says of a patient, or of a scan, of which it may have several entries; "" and NaN are not known. */
  value(name: string, patient: number, sequence: number, entry = 0): string | number {
    const table = this.#tables.get(name);
    if (!table) return "";
    if (table.dims.length === 1) return table.values[patient];
    const size = table.shape.slice(2).reduce((product, n) => product * n, 1);
    return table.values[(patient * table.shape[1] + sequence) * size + entry];
  }

  /** What a table on (patient, sequence, …) says of a scan, in C order. */
  entries(name: string, patient: number, sequence: number): (string | number)[] {
    const table = this.#tables.get(name);
    const size = (table?.shape ?? []).slice(2).reduce((product, n) => product * n, 1);
    const start = (patient * this.sequences.length + sequence) * size;
    return Array.from({ length: size }, (_, i) => table?.values[start + i] ?? "");
  }

  /** The same of each scan of a patient, as the store has it now. */
  async entriesNow(name: string, patient: number): Promise<(string | number)[][]> {
    const array = await this.array(name);
    const { data } = await zarr.get(array, [zarr.slice(patient, patient + 1), ...array.shape.slice(1).map(() => null)]);
    const values = Array.from(data as Iterable<string | number | bigint>, (value) => (typeof value === "bigint" ? Number(value) : value));
    const size = values.length / this.sequences.length;
    return this.sequences.map((_, sequence) => values.slice(sequence * size, (sequence + 1) * size));
  }

  /** What a table on (patient, sequence, z) says of the slices of a scan; its chunks are kept. */
  async slices(name: string, patient: number, sequence: number, depth: number): Promise<Float64Array> {
    const array = await this.array(name);
    const [patients, sequences, size] = array.chunks;
    const values = new Float64Array(depth);
    for (let first = 0; first < depth; first += size) {
      const at = [Math.floor(patient / patients), Math.floor(sequence / sequences), first / size];
      const key = `${name}/${at.join("/")}`;
      const chunk = this.#chunks.get(key) ?? array.getChunk(at);
      this.#chunks.set(key, chunk);
      chunk.catch(() => this.#chunks.delete(key));
      const { data, stride } = await chunk;
      const start = (patient % patients) * stride[0] + (sequence % sequences) * stride[1];
      for (let k = first; k < Math.min(first + size, depth); k++) values[k] = Number((data as Values)[start + (k - first) * stride[2]]);
    }
    return values;
  }

  /** Labels of the mask, by number; 1 is "tumor" where the store does not say. */
  labels(): Map<number, string> {
    const attributes = this.#store.members.get("mask")?.attributes ?? {};
    const values = Array.isArray(attributes["flag_values"]) ? attributes["flag_values"].map(Number) : [0, 1];
    const words = text(attributes["flag_meanings"]).split(/\s+/);
    return new Map(values.map((value, i) => [value, words[i] || `label ${value}`] as const).filter(([value]) => value > 0));
  }

  /** What the store says of a scan. */
  scan(patient: number, sequence: number): Scan {
    const say = (name: string): string => String(this.value(name, patient, sequence));
    const of = (name: string): number[] => this.entries(name, patient, sequence) as number[];
    const status = say("status");
    const stored = STORED.includes(status);
    let grid: Grid | null = null;
    let problem = "";
    if (stored) {
      try {
        grid = new Grid(of("shape"), of("affine"));
      } catch (error) {
        problem = (error as Error).message;
      }
    }
    return {
      patient,
      sequence,
      label: `${this.patients[patient]}/${this.sequences[sequence]}`,
      status,
      maskStatus: say("mask_status"),
      message: say("message"),
      grid,
      problem,
      knownSpacing: of("spacing").every(Number.isFinite),
      hasImage: grid !== null && say("image_digest") !== "",
      hasMask: grid !== null && STORED.includes(say("mask_status")),
      imageDigest: say("image_digest"),
      maskDigest: say("mask_digest"),
      frame: say("frame_digest"),
    };
  }

  /** Stored value of images outside the field of view; NaN where they are of floats. */
  get paddingOfImage(): number {
    const found = this.#store.members.get("image")?.attributes?.["_FillValue"];
    return typeof found === "number" ? found : Number.NaN;
  }
}

/** The path of another array in the group of an array. */
export function beside(name: string, other: string): string {
  return name.slice(0, name.lastIndexOf("/") + 1) + other;
}

/** Objects for zarrita; metadata come from the root's consolidated ones where there are any. */
export class MetadataStore {
  readonly members = new Map<string, Metadata>();
  readonly absent = new Set<string>();
  readonly #encoder = new TextEncoder();
  readonly #source: ObjectSource;
  readonly root: Metadata;

  private constructor(source: ObjectSource, root: Metadata) {
    this.#source = source;
    this.root = root;
  }

  static async open(source: ObjectSource): Promise<MetadataStore> {
    const found = await source.get("zarr.json");
    if (!found) throw new ReadError("no store is here: there is no zarr.json");
    const root = JSON.parse(new TextDecoder().decode(found)) as Metadata;
    const store = new MetadataStore(source, root);
    const members = root.consolidated_metadata?.metadata;
    if (!members) throw new ReadError("the store has no consolidated metadata; write them with zarr.consolidate_metadata");
    for (const [name, about] of Object.entries(members)) store.members.set(name, about);
    return store;
  }

  async get(path: string): Promise<Uint8Array | undefined> {
    const key = path.replace(/^\/+/, "");
    const name = key.replace(/\/?zarr\.json$/, "");
    if (name !== key) {
      const about = name ? this.members.get(name) : this.root;
      return about && this.#encoder.encode(JSON.stringify(about));
    }
    const found = await this.#source.get(key);
    if (!found) this.absent.add(key);
    return found;
  }
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function numbers(data: unknown): Values {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float64Array.from(data, Number);
  return data as Values;
}
