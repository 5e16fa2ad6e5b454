// What the list says of each patient, and how far its review has come.
import { isVolume, type Column } from "./columns.js";
import { STORED, type Cohort } from "./cohort.js";
import { number } from "./dom.js";
import type { Row } from "./list.js";
import type { Review } from "./review.js";

/** A row of the list: the value by which it is sorted, scans that are not there, and what was decided. */
export function row(cohort: Cohort, index: number, column: Column | undefined, mark: string): Row {
  const values = column?.values(index) ?? [];
  const best = values.length && column?.numeric ? Math.max(...(values as number[])) : values[0];
  const flags = cohort.sequences.flatMap((sequence, i) => {
    const status = String(cohort.value("status", index, i));
    return status === "ok" ? [] : [`${sequence}: ${status}`];
  });
  return { index, label: cohort.patients[index], detail: detail(best, column), flag: flags.join(", "), mark };
}

function detail(best: string | number | undefined, column: Column | undefined): string {
  if (typeof best !== "number") return best ?? "";
  const text = column && isVolume(column) ? volume(best) : number(best, 1);
  return `${text} ${column?.units ?? ""}`;
}

/** A volume with one digit after the point, so that points are below one another; of a small one two that count. */
function volume(cm3: number): string {
  return cm3 >= 1 ? cm3.toFixed(1) : number(Number(cm3.toPrecision(2)));
}

/** Decisions on the scans of a patient that are stored: one word if it is one, "" if there is none. */
export function decided(cohort: Cohort, review: Review | null, index: number): string {
  const stored = cohort.sequences.filter((_, i) => STORED.includes(String(cohort.value("status", index, i))));
  const words = new Set(stored.map((sequence) => review?.of(cohort.patients[index], sequence)?.decision ?? ""));
  if (words.has("")) return words.size > 1 ? "in part" : "";
  return words.has("exclude") ? "exclude" : [...words].join("");
}

/** Whether a scan of the patient is still to be reviewed. */
export function isOpen(cohort: Cohort, review: Review | null, index: number): boolean {
  return ["", "in part"].includes(decided(cohort, review, index));
}
