// Digests by which the server knows what was looked at: the voxels of a scan, and where they lie in the patient.
import { xxhash128 } from "hash-wasm";
import { geometryText } from "./columns.js";
import type { Cohort } from "./cohort.js";

export const CHANGED = "the scan has changed since this page was loaded; reload it and look again";
const TABLES = ["image_digest", "mask_digest", "shape", "spacing", "affine"];

/** Digest of a scan by the tables that the page draws it from. */
export function digestSeen(cohort: Cohort, patient: number, sequence: number): Promise<string> {
  return xxhash128(seenText(TABLES.map((name) => cohort.entries(name, patient, sequence))));
}

/** Whether each scan of a patient is another in the store by now than the one that the page draws. */
export async function changedSince(cohort: Cohort, patient: number): Promise<boolean[]> {
  const now = await Promise.all(TABLES.map((name) => cohort.entriesNow(name, patient)));
  const before = cohort.sequences.map((_, sequence) => TABLES.map((name) => cohort.entries(name, patient, sequence)));
  return before.map((tables, sequence) => seenText(tables) !== seenText(now.map((table) => table[sequence])));
}

/** What the digest is computed of, as store/review_digests.py writes it. */
export function seenText([[image], [mask], shape, ...rest]: readonly (readonly (string | number)[])[]): string {
  return `${image} ${mask} ${geometryText(shape as number[], ...(rest as number[][]))}`;
}
