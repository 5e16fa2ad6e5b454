// What is known of a patient and its scans, in numbers and words.
import type { Column, Results } from "./columns.js";
import type { Cohort } from "./cohort.js";
import { h, number } from "./dom.js";
import type { Patient } from "./patient.js";

/** Rows that come first, with their names for people. */
const FIRST: readonly (readonly [string, string])[] = [
  ["status", "status"], ["message", "remarks"], ["mask_status", "mask"],
  ["morphology/volume", "volume"], ["morphology/max_diameter", "largest diameter"],
  ["morphology/surface_area", "surface"], ["morphology/components", "pieces"],
  ["agreement/dice", "Dice of the raters"], ["agreement/hd95", "95 % surface distance of the raters"],
  ["scanner_model", "scanner"], ["magnetic_field_strength", "field strength"], ["echo_time", "echo time"],
  ["repetition_time", "repetition time"], ["flip_angle", "flip angle"], ["slice_thickness", "slice thickness"],
];
const NOT_ROWS = new Set(["sequence", "patient"]);

/** Tables of one patient: one column a sequence, and what is known of the person. */
export function facts(cohort: Cohort, patient: Patient, columns: readonly Column[], results: Results | null): HTMLElement {
  const loaded = new Set(columns.map(({ name }) => name));
  const ofScans = [...loaded].filter((name) => (cohort.table(name)?.dims.length ?? 0) > 1 && !NOT_ROWS.has(name));
  const first = new Set(FIRST.map(([name]) => name));
  const scores = ofScans.filter((name) => /^score\/.*\/(dice|hd95|surface_dice)$/.test(name));
  const head = [...FIRST, ...scores.map((name) => [name, name.replace(/^score\//, "").replaceAll("/", ": ")] as const)];
  const row = ([name, title]: readonly [string, string]): HTMLElement | null => scanRow(cohort, patient, name, title, results);
  const rest = ofScans.filter((name) => !first.has(name) && !scores.includes(name)).sort();
  return h(
    "div", { class: "facts" },
    table(cohort, patient, [...head.map(row), geometryRow(cohort, patient)]),
    person(cohort, patient, columns),
    h("details", {}, h("summary", {}, "Everything else that is known of the scans"),
      table(cohort, patient, rest.map((name) => row([name, name.replaceAll("_", " ")])))),
  );
}

function table(cohort: Cohort, patient: Patient, rows: readonly (HTMLElement | null)[]): HTMLElement {
  const heads = patient.series.map(({ scan }) => h("th", { scope: "col" }, cohort.sequences[scan.sequence]));
  return h(
    "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "numbers of the scans" },
    h("table", {}, h("thead", {}, h("tr", {}, h("td"), ...heads)), h("tbody", {}, ...rows)),
  );
}

function scanRow(cohort: Cohort, patient: Patient, name: string, title: string, results: Results | null): HTMLElement | null {
  const known = cohort.table(name);
  if (!known || known.dims.length !== 2) return null;
  const group = name.includes("/") ? name.slice(0, name.lastIndexOf("/")) : "";
  const cells = patient.series.map(({ scan }) => {
    if (group && scan.maskStatus !== "" && scan.hasMask && results && !results.holds(group, scan.patient, scan.sequence))
      return "measure again";
    return shown(cohort.value(name, scan.patient, scan.sequence), known.units);
  });
  if (cells.every((cell) => cell === "" || cell === "measure again")) {
    if (!cells.includes("measure again")) return null;
  }
  return h("tr", {}, h("th", { scope: "row", title: known.meaning }, title), ...cells.map((cell) => h("td", {}, cell)));
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

function person(cohort: Cohort, patient: Patient, columns: readonly Column[]): HTMLElement | null {
  const found = columns
    .filter(({ name }) => cohort.table(name)?.dims.length === 1)
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
