// What is known of a patient and its scans, in numbers and words.
import type { Column, Entry, Results } from "./columns.js";
import type { Cohort } from "./cohort.js";
import { h, number } from "./dom.js";
import type { Patient } from "./patient.js";

/** Rows that come first, with their names for people; those of results also where labels were chosen. */
const FIRST: readonly (readonly [string, string])[] = [
  ["status", "status"], ["message", "remarks"], ["mask_status", "mask"],
  ["morphology/volume", "volume"], ["morphology/max_diameter", "largest diameter"],
  ["morphology/surface_area", "surface"], ["morphology/components", "pieces"],
  ["agreement/dice", "Dice of the raters"], ["agreement/hd95", "95 % surface distance of the raters"],
  ["scanner_model", "scanner"], ["magnetic_field_strength", "field strength"], ["echo_time", "echo time"],
  ["repetition_time", "repetition time"], ["flip_angle", "flip angle"], ["slice_thickness", "slice thickness"],
];
const SCORES = /^score\/(.*)\/(dice|hd95|surface_dice)$/;
type Cell = Column & { readonly entry: Entry };

/** Tables of one patient: one column a sequence, and what is known of the person. */
export function facts(cohort: Cohort, patient: Patient, columns: readonly Column[], results: Results | null): HTMLElement {
  const ofScans = columns.filter((column): column is Cell => (column.entry?.table.dims.length ?? 0) > 1);
  const head = headRows(ofScans);
  const first = new Set(head.values());
  const rest = ofScans.filter((column) => !first.has(column)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const row = (title: string, column: Cell): HTMLElement | null => scanRow(cohort, patient, column, title, results);
  return h(
    "div", { class: "facts" },
    table(cohort, patient, [...[...head].map(([title, column]) => row(title, column)), geometryRow(cohort, patient)]),
    person(patient, columns),
    h("details", {}, h("summary", {}, "Everything else that is known of the scans"),
      table(cohort, patient, rest.map((column) => row(column.title, column)))),
  );
}

/** The columns that come first, by their titles; of two results with the same title that of all labels. */
function headRows(columns: readonly Cell[]): Map<string, Cell> {
  const found = new Map<string, Cell>();
  const shortest = [...columns].sort((a, b) => a.entry.group.length - b.entry.group.length);
  const put = (title: string, column: Cell): unknown => found.has(title) || found.set(title, column);
  for (const [kind, title] of FIRST)
    for (const column of shortest) if (kindOf(column) === kind) put(`${whose(column)}${title}`, column);
  for (const column of columns) {
    const [, run, measure] = SCORES.exec(column.entry.table.name) ?? [];
    if (run) put(`${run.replaceAll("/", ": ")}: ${whose(column)}${measure.replaceAll("_", " ")}`, column);
  }
  return found;
}

/** The name of a table, without what was chosen to be measured. */
function kindOf({ entry }: Cell): string {
  const parts = entry.table.name.split("/");
  return parts.length > 1 ? `${parts[0]}/${parts[parts.length - 1]}` : entry.table.name;
}

/** Of which rater and label a number is, to be put before what it is. */
function whose({ entry: { of } }: Cell): string {
  const readers = ["pair", "rater"].flatMap((dim) => (of[dim] ? [`${of[dim]}: `] : []));
  return readers.join("") + (of["label"] ? `${of["label"].replaceAll("_", " ")} ` : "");
}

function table(cohort: Cohort, patient: Patient, rows: readonly (HTMLElement | null)[]): HTMLElement {
  const heads = patient.series.map(({ scan }) => h("th", { scope: "col" }, cohort.sequences[scan.sequence]));
  return h(
    "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "numbers of the scans" },
    h("table", {}, h("thead", {}, h("tr", {}, h("td"), ...heads)), h("tbody", {}, ...rows)),
  );
}

function scanRow(cohort: Cohort, patient: Patient, column: Cell, title: string, results: Results | null): HTMLElement | null {
  const { table, group, at } = column.entry;
  const cells = patient.series.map(({ scan }) => {
    if (group && scan.maskStatus !== "" && scan.hasMask && results && !results.holds(group, scan.patient, scan.sequence))
      return "measure again";
    return shown(cohort.value(table.name, scan.patient, scan.sequence, at), table.units);
  });
  if (cells.every((cell) => cell === "")) return null;
  return h("tr", {}, h("th", { scope: "row", title: table.meaning }, title), ...cells.map((cell) => h("td", {}, cell)));
}

function geometryRow(cohort: Cohort, patient: Patient): HTMLElement {
  const cells = patient.series.map(({ scan }) => {
    if (!scan.grid) return h("td", {}, "");
    const [x, y, z] = scan.grid.count;
    const size = scan.grid.spacing.map((mm) => number(mm));
    const voxel = scan.knownSpacing ? `${size[0]} × ${size[1]} × ${size[2]} mm` : "voxel size not known";
    return h("td", {}, `${x} × ${y} × ${z} voxels of ${voxel}`);
  });
  void cohort;
  return h("tr", {}, h("th", { scope: "row" }, "grid"), ...cells);
}

function person(patient: Patient, columns: readonly Column[]): HTMLElement | null {
  const found = columns
    .filter(({ entry }) => entry?.table.dims.length === 1)
    .map((column) => [column, column.values(patient.index)[0]] as const)
    .filter(([, value]) => value !== undefined);
  if (!found.length) return null;
  return h(
    "dl", { class: "person" },
    ...found.map(([{ title, units, meaning }, value]) =>
      h("div", {}, h("dt", { title: meaning }, title), h("dd", {}, shown(value, units)))),
  );
}

function shown(value: string | number, units: string): string {
  if (typeof value === "string") return value;
  if (!Number.isFinite(value)) return "";
  if (units === "mm3") return `${number(value / 1000)} cm³`;
  if (units === "mm2") return `${number(value / 100)} cm²`;
  if (units === "degree") return `${number(value)}°`;
  if (["year", "month", "day"].includes(units)) return `${number(value)} ${units}${value === 1 ? "" : "s"}`;
  return units && units !== "1" ? `${number(value)} ${units}` : number(value, 3);
}
