// Which patients are listed, and in which order.
import type { Column, Value } from "./columns.js";

export const OPERATORS = ["is", "is not", "contains", "≥", "≤", "is known", "is not known"] as const;
export type Operator = (typeof OPERATORS)[number];
export interface Filter {
  readonly column: string;
  readonly operator: Operator;
  readonly value: string;
}
export interface Order {
  readonly column: string;
  readonly descending: boolean;
}
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** Whether a patient passes a filter: one of its scans is enough. */
function passes(values: readonly Value[], { operator, value }: Filter): boolean {
  const wanted = value.trim().toLowerCase();
  const number = Number(wanted.replace(",", "."));
  const same = (one: Value): boolean => (typeof one === "number" ? one === number : one.toLowerCase() === wanted);
  switch (operator) {
    case "is": return values.some(same);
    case "is not": return !values.some(same);
    case "contains": return values.some((one) => String(one).toLowerCase().includes(wanted));
    case "≥": return values.some((one) => (typeof one === "number" ? one >= number : collator.compare(one, wanted) >= 0));
    case "≤": return values.some((one) => (typeof one === "number" ? one <= number : collator.compare(one, wanted) <= 0));
    case "is known": return values.length > 0;
    case "is not known": return values.length === 0;
  }
}

/** Indices of the patients to list, in order; those of which the sorted column is not known come last. */
export function listed(
  patients: readonly string[],
  columns: ReadonlyMap<string, Column>,
  wanted: { readonly search: string; readonly filters: readonly Filter[]; readonly order: Order },
): number[] {
  const search = wanted.search.trim().toLowerCase();
  const active = wanted.filters.flatMap((filter) => {
    const column = columns.get(filter.column);
    return column ? [{ filter, column }] : [];
  });
  const found: number[] = [];
  for (let i = 0; i < patients.length; i++) {
    if (search && !patients[i].toLowerCase().includes(search)) continue;
    if (active.every(({ filter, column }) => passes(column.values(i), filter))) found.push(i);
  }
  return sorted(found, patients, columns.get(wanted.order.column), wanted.order.descending);
}

function sorted(found: number[], patients: readonly string[], column: Column | undefined, descending: boolean): number[] {
  const turn = descending ? -1 : 1;
  if (!column) return found.sort((a, b) => turn * collator.compare(patients[a], patients[b]));
  const keys = new Map(found.map((i) => [i, sortKey(column.values(i), descending)] as const));
  return found.sort((a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    if (x === undefined || y === undefined) return Number(x === undefined) - Number(y === undefined) || a - b;
    return turn * compare(x, y) || a - b;
  });
}

/** Of several scans the one that comes first in the order. */
function sortKey(values: readonly Value[], descending: boolean): Value | undefined {
  return values.reduce<Value | undefined>((best, one) => {
    if (best === undefined) return one;
    return compare(one, best) * (descending ? -1 : 1) < 0 ? one : best;
  }, undefined);
}

function compare(a: Value, b: Value): number {
  return typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b));
}
