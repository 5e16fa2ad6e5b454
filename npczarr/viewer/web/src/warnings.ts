// What is to be said of a patient before its pictures are trusted.
import type { Cohort } from "./cohort.js";
import type { Patient } from "./patient.js";

/** Lines on frames of reference that differ, and on sequences that are not shown. */
export function warnings(cohort: Cohort, patient: Patient): string[] {
  const frames = new Map<string, string[]>();
  for (const { scan } of patient.shown)
    if (scan.frame) add(frames, scan.frame, cohort.sequences[scan.sequence]);
  const lines: string[] = [];
  if (frames.size > 1) {
    const groups = [...frames.values()].map((names) => names.join(", ")).join(" | ");
    lines.push(`Different frames of reference: ${groups}. The same place in mm may be another place of the patient.`);
  }
  const absent = new Map<string, string[]>();
  for (const { scan, problems } of patient.series)
    if (scan.grid === null) add(absent, problems[0] ?? `${scan.status}${scan.message && `, ${scan.message}`}`, cohort.sequences[scan.sequence]);
  for (const [why, names] of absent) lines.push(`${names.join(", ")} ${names.length > 1 ? "are" : "is"} not shown: ${why}`);
  return lines;
}

function add(groups: Map<string, string[]>, key: string, name: string): void {
  groups.set(key, [...(groups.get(key) ?? []), name]);
}
