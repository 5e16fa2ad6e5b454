// What the list of patients can be filtered and sorted by, and which results still hold.
import { createXXHash128, type IHasher } from "hash-wasm";
import { beside, type Cohort, type Table } from "./cohort.js";

export type Value = string | number;
export interface Column {
  readonly name: string;
  readonly title: string;
  readonly units: string;
  readonly meaning: string;
  readonly numeric: boolean;
  /** Where its values are in the tables, if they are just those. */
  readonly entry?: Entry;
  /** What is known of a patient: one value, or one for each sequence; values that are not known are left out. */
  values(patient: number): Value[];
}
/** One of the values that a table has for each patient or scan. */
export interface Entry {
  readonly table: Table;
  /** Path of the result that it belongs to; "" in the store's own tables. */
  readonly group: string;
  readonly at: number;
  /** The label, the rater or the pair of raters that it is of, by dimension. */
  readonly of: Readonly<Record<string, string>>;
}

/** Tables that say nothing to a person. */
const LEFT_OUT = /(^|\/)(\w+_digest|input_digest)$/;
/** Of all labels, or of those that were chosen. */
const MEASURED_VOLUME = /^morphology\/([^/]+\/)?volume$/;
const VOLUME = "volume/"; // no table of a store has such a name

const known = (value: Value): boolean => (typeof value === "number" ? Number.isFinite(value) : value !== "");
const groupOf = (name: string): string => beside(name, "").slice(0, -1);

/** All columns of which the table was read, after the volumes; without `results` it is not known yet which of them hold. */
export function columnsOf(cohort: Cohort, results: Results | null): Column[] {
  const tables = cohort.columns().filter((name) => !LEFT_OUT.test(name)).map((name) => cohort.table(name));
  const entries = tables.flatMap((table) => (table ? entriesOf(cohort, table) : []));
  return [...volumeColumns(cohort, entries, results), ...entries.map((entry) => columnOf(cohort, entry, results))];
}

/** Whether a column is of volumes of the masks. */
export function isVolume({ name }: Pick<Column, "name">): boolean {
  return name.startsWith(VOLUME);
}

/** Volumes in cm3, one column for each label that was measured; nothing for a store of several raters. */
function volumeColumns(cohort: Cohort, entries: readonly Entry[], results: Results | null): Column[] {
  if (cohort.raters.length) return [];
  const labels = [...cohort.labels().values()];
  const only = labels.length === 1 ? labels : [];
  const groups = cohort.columns().filter((name) => MEASURED_VOLUME.test(name)).map(groupOf);
  const measured = new Set(groups.map((group) => cohort.labelsMeasured(group)).flatMap((some) => (some.length ? some : only)));
  const found = labels.filter((label) => measured.has(label));
  if (!found.length) return [countedVolume(cohort, labels)];
  const volumes = entries.filter(({ table }) => MEASURED_VOLUME.test(table.name));
  volumes.sort((a, b) => a.group.length - b.group.length); // that of all labels first
  const ofLabel = (label: string): Entry[] => volumes.filter(({ of }) => (of["label"] ?? only[0]) === label);
  return found.map((label) => measuredVolume(cohort, label, ofLabel(label), results));
}

/** The volume of a label by the first result that has it and still holds. */
function measuredVolume(cohort: Cohort, label: string, entries: readonly Entry[], results: Results | null): Column {
  const of = (patient: number, sequence: number): number | undefined =>
    entries
      .filter(({ group }) => results?.holds(group, patient, sequence))
      .map(({ table, at }) => Number(cohort.value(table.name, patient, sequence, at)) / 1000)
      .find(Number.isFinite);
  return {
    name: `${VOLUME}${label}`,
    title: `${label.replaceAll("_", " ")} volume`,
    units: "cm³",
    meaning: "as npczarr morphology measured it; nothing where it is to be measured again",
    numeric: true,
    values: (patient) => cohort.sequences.flatMap((_, sequence) => of(patient, sequence) ?? []),
  };
}

/** Volume by counting voxels, where nothing was measured: the store has no counts of single labels. */
function countedVolume(cohort: Cohort, labels: readonly string[]): Column {
  const of = (patient: number): number[] =>
    cohort.sequences.flatMap((_, sequence) => {
      const { grid, hasMask, knownSpacing } = cohort.scan(patient, sequence);
      const voxels = Number(cohort.value("mask_voxels", patient, sequence));
      return grid && hasMask && knownSpacing ? [(voxels * grid.spacing[0] * grid.spacing[1] * grid.spacing[2]) / 1000] : [];
    });
  const kept = new Map<number, number[]>();
  const several = labels.length > 1;
  return {
    name: `${VOLUME}${several ? "all labels" : labels[0]}`,
    title: several ? "volume of all labels together, by voxels" : `${labels[0].replaceAll("_", " ")} volume, by voxels`,
    units: "cm³",
    meaning: `voxels of the mask times their volume; npczarr morphology measures ${several ? "each label" : "it"}`,
    numeric: true,
    values: (patient) => {
      const found = kept.get(patient) ?? of(patient);
      kept.set(patient, found);
      return found;
    },
  };
}

/** The entries of a table: one, or one for each label, rater and pair. */
function entriesOf(cohort: Cohort, table: Table): Entry[] {
  const group = groupOf(table.name);
  const [label, ...others] = group && cohort.labels().size > 1 ? cohort.labelsMeasured(group) : [];
  let found: Entry[] = [{ table, group, at: 0, of: {} }];
  if (table.dims.length === 2 && label && !others.length) found = [{ table, group, at: 0, of: { label } }];
  table.dims.slice(2).forEach((dim, i) => {
    const names = cohort.texts(beside(table.name, dim));
    const whole = names.length === table.shape[2 + i] ? names : []; // else nothing says what the values are of
    found = found.flatMap(({ at, of }) =>
      whole.map((name, k) => ({ table, group, at: at * whole.length + k, of: { ...of, [dim]: name } })));
  });
  return found;
}

function columnOf(cohort: Cohort, entry: Entry, results: Results | null): Column {
  const { table, group, at, of } = entry;
  const sequences = table.dims.length > 1 ? cohort.sequences.map((_, i) => i) : [0];
  const words = table.dims.slice(2).map((dim) => of[dim]);
  const title = table.name + (words.length ? `: ${words.join(", ")}` : "");
  return {
    name: [table.name, ...words].join("."),
    title: title.replaceAll("_", " "),
    units: table.units === "1" ? "" : table.units,
    meaning: table.meaning,
    numeric: typeof table.values[0] === "number",
    entry,
    values: (patient) =>
      sequences
        .filter((sequence) => !group || results?.holds(group, patient, sequence))
        .map((sequence) => cohort.value(table.name, patient, sequence, at))
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
