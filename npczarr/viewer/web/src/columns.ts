// What the list of patients can be filtered and sorted by, and which results still hold.
import { createXXHash128, type IHasher } from "hash-wasm";
import type { Cohort, Table } from "./cohort.js";

export type Value = string | number;
export interface Column {
  readonly name: string;
  readonly title: string;
  readonly units: string;
  readonly meaning: string;
  readonly numeric: boolean;
  /** What is known of a patient: one value, or one for each sequence; values that are not known are left out. */
  values(patient: number): Value[];
}

/** Tables that say nothing to a person. */
const LEFT_OUT = /(^|\/)(\w+_digest|input_digest)$/;
export const TUMOR_VOLUME = "tumor_volume";

const known = (value: Value): boolean => (typeof value === "number" ? Number.isFinite(value) : value !== "");

/** Volume of the tumor in cm3, as it was measured or else by counting voxels; nothing for a store of several raters. */
function tumorVolume(cohort: Cohort, results: Results): Column {
  const of = (patient: number): number[] =>
    cohort.sequences.flatMap((_, sequence) => {
      const { grid, hasMask } = cohort.scan(patient, sequence);
      const measured = results.holds("morphology", patient, sequence) ? Number(cohort.value("morphology/volume", patient, sequence) || NaN) : NaN;
      if (Number.isFinite(measured)) return [measured / 1000];
      const voxels = Number(cohort.value("mask_voxels", patient, sequence));
      return grid && hasMask ? [(voxels * grid.spacing[0] * grid.spacing[1] * grid.spacing[2]) / 1000] : [];
    });
  const kept = new Map<number, number[]>();
  return {
    name: TUMOR_VOLUME,
    title: "tumor volume",
    units: "cm³",
    meaning: "as npczarr morphology measured it; before that, voxels of the mask times their volume",
    numeric: true,
    values: (patient) => {
      const found = kept.get(patient) ?? of(patient);
      kept.set(patient, found);
      return found;
    },
  };
}

/** All columns of which the table was read. */
export function columnsOf(cohort: Cohort, results: Results): Column[] {
  const tables = cohort.columns().filter((name) => !LEFT_OUT.test(name)).map((name) => cohort.table(name));
  const read = tables.filter((table) => table !== undefined);
  const columns = read.map((table) => columnOf(cohort, table, results));
  return cohort.raters.length ? columns : [tumorVolume(cohort, results), ...columns];
}

function columnOf(cohort: Cohort, table: Table, results: Results): Column {
  const group = table.name.split("/").slice(0, -1).join("/");
  const sequences = table.dims.length > 1 ? cohort.sequences.map((_, i) => i) : [0];
  return {
    name: table.name,
    title: table.name.replaceAll("_", " "),
    units: table.units === "1" ? "" : table.units,
    meaning: table.meaning,
    numeric: typeof table.values[0] === "number",
    values: (patient) =>
      sequences
        .filter((sequence) => !group || results.holds(group, patient, sequence))
        .map((sequence) => cohort.value(table.name, patient, sequence))
        .filter(known),
  };
}

/** Which results were measured on what the store holds now. */
export class Results {
  readonly #cohort: Cohort;
  readonly #hash: IHasher;
  readonly #kept = new Map<number, string>();

  private constructor(cohort: Cohort, hash: IHasher) {
    this.#cohort = cohort;
    this.#hash = hash;
  }

  static async make(cohort: Cohort): Promise<Results> {
    return new Results(cohort, await createXXHash128());
  }

  /** Whether a scan's result is of its mask and voxel size as they are now. */
  holds(group: string, patient: number, sequence: number): boolean {
    const table = this.#cohort.table(`${group}/input_digest`);
    return table !== undefined && this.#cohort.value(table.name, patient, sequence) === this.#input(patient, sequence);
  }

  #input(patient: number, sequence: number): string {
    const at = patient * this.#cohort.sequences.length + sequence;
    let found = this.#kept.get(at);
    if (found === undefined) {
      const of = (name: string): number[] => this.#cohort.entries(name, patient, sequence).map(Number);
      const text = inputText(String(this.#cohort.value("mask_digest", patient, sequence)), of("shape"), of("spacing"));
      this.#hash.init();
      found = this.#hash.update(text).digest("hex");
      this.#kept.set(at, found);
    }
    return found;
  }
}

/** What the digest of a result's input is computed of, as Python writes it. */
export function inputText(digest: string, shape: readonly number[], spacing: readonly number[]): string {
  return `${digest} ${geometryText(shape, spacing)}`;
}

/** A shape and other geometry as Python writes a tuple of a list of integers and lists of floats. */
export function geometryText(shape: readonly number[], ...rest: readonly (readonly number[])[]): string {
  const texts = [shape.join(", "), ...rest.map((values) => values.map(pythonFloat).join(", "))];
  return `(${texts.map((text) => `[${text}]`).join(", ")})`;
}

/** A float as Python's repr writes it. */
export function pythonFloat(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16))
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  const text = Object.is(value, -0) ? "-0" : String(value);
  return Number.isInteger(value) ? `${text}.0` : text;
}
