// What is shown, and how it is written into the address of the page.
import { PLANES, type Plane, type Vector } from "./geometry.js";
import { OPERATORS, type Filter, type Operator, type Order } from "./filter.js";
import type { Levels, MaskStyle } from "./render.js";
import { turned, type Turn } from "./solid.js";

export type Layout = "sequences" | "planes" | "grid" | "solid";
export interface State {
  patient: string;
  /** Crosshair in mm; null: at the tumor. */
  at: Vector | null;
  /** null: the plane in which the first sequence was taken. */
  plane: Plane | null;
  layout: Layout;
  /** The sequence that is shown alone, or in three planes. */
  sequence: string;
  /** Millimeters across the smaller side of a pane, and what is in its middle; null: everything. */
  span: number | null;
  center: Vector | null;
  style: MaskStyle;
  /** Labels and raters that are not drawn. */
  hidden: ReadonlySet<string>;
  levels: ReadonlyMap<string, Levels>;
  /** From where masks in three dimensions are seen. */
  turn: Turn;
  smooth: boolean;
  crosshair: boolean;
  search: string;
  filters: readonly Filter[];
  order: Order;
}

const FROM: Turn = [25, 15]; // from the front, a little to the side and above

export const initial = (): State => ({
  patient: "", at: null, plane: null, layout: "sequences", sequence: "", span: null, center: null, style: "outline",
  hidden: new Set(), levels: new Map(), turn: FROM, smooth: true, crosshair: true, search: "", filters: [],
  order: { column: "", descending: false },
});

const round = (value: number): string => String(Number(value.toFixed(2)));
const rounded = (value: Vector | null): Vector | null => value && (value.map((mm) => Number(mm.toFixed(2))) as unknown as Vector);
const roundLevels = ({ low, high }: Levels): Levels => ({ low: Number(low.toPrecision(6)), high: Number(high.toPrecision(6)) });

/** The state as an address can hold it, so that a link shows just what was seen. */
export function normalized(state: State): State {
  return {
    ...state,
    at: rounded(state.at),
    center: rounded(state.center),
    span: state.span === null ? null : Math.max(Number(state.span.toFixed(2)), 1),
    turn: [Number(state.turn[0].toFixed(1)), Number(state.turn[1].toFixed(1))],
    levels: new Map([...state.levels].map(([name, levels]) => [name, roundLevels(levels)])),
  };
}
const point = (value: Vector | null): string => (value ? value.map(round).join(",") : "");

function parsePoint(text: string | null): Vector | null {
  const parts = (text ?? "").split(",").map(Number);
  return text && parts.length === 3 && parts.every(Number.isFinite) ? (parts as unknown as Vector) : null;
}

/** Write the state as a query; what is as usual is left out. `kept` is of the address that is no state. */
export function toQuery(state: State, kept: URLSearchParams = new URLSearchParams()): URLSearchParams {
  const query = new URLSearchParams(kept);
  const put = (name: string, value: string): void => {
    if (value) query.append(name, value);
  };
  put("patient", state.patient);
  put("at", point(state.at));
  put("plane", state.plane ?? "");
  put("layout", state.layout === "sequences" ? "" : state.layout);
  put("sequence", state.sequence);
  put("span", state.span ? round(state.span) : "");
  put("center", point(state.center));
  put("mask", state.style === "outline" ? "" : state.style);
  for (const name of [...state.hidden].sort()) put("hide", name);
  for (const [sequence, { low, high }] of state.levels) put("window", `${low},${high},${sequence}`);
  put("turn", String(state.turn) === String(FROM) ? "" : state.turn.join(","));
  put("smooth", state.smooth ? "" : "no");
  put("crosshair", state.crosshair ? "" : "no");
  put("search", state.search);
  for (const { column, operator, value } of state.filters) put("filter", `${column}|${OPERATORS.indexOf(operator)}|${value}`);
  put("sort", state.order.column || state.order.descending ? `${state.order.descending ? "-" : ""}${state.order.column}` : "");
  return query;
}

const one = <T extends string>(value: string | null, of: readonly T[]): T | undefined => of.find((word) => word === value);

/** Read the state of an address; what makes no sense is as usual. */
export function fromQuery(query: URLSearchParams): State {
  const state = initial();
  const sort = query.get("sort") ?? "";
  const turn = (query.get("turn") ?? "").split(",").map(Number);
  const span = Number(query.get("span"));
  const levels = query.getAll("window").flatMap((text) => {
    const [low, high, ...name] = text.split(",");
    const found = { low: Number(low), high: Number(high) };
    return name.length && found.high > found.low ? [[name.join(","), found] as const] : [];
  });
  const filters = query.getAll("filter").flatMap((text) => {
    const [column, operator, ...value] = text.split("|");
    const found: Operator | undefined = OPERATORS[Number(operator)];
    return column && found ? [{ column, operator: found, value: value.join("|") }] : [];
  });
  return {
    ...state,
    patient: query.get("patient") ?? "",
    at: parsePoint(query.get("at")),
    plane: one(query.get("plane"), PLANES) ?? null,
    layout: one(query.get("layout"), ["sequences", "planes", "grid", "solid"] as const) ?? state.layout,
    sequence: query.get("sequence") ?? "",
    span: span > 0 ? span : null,
    center: parsePoint(query.get("center")),
    style: one(query.get("mask"), ["outline", "fill", "off"] as const) ?? state.style,
    hidden: new Set(query.getAll("hide")),
    levels: new Map(levels),
    turn: turn.length === 2 && turn.every(Number.isFinite) ? turned([turn[0], turn[1]], 0, 0) : FROM,
    smooth: query.get("smooth") !== "no",
    crosshair: query.get("crosshair") !== "no",
    search: query.get("search") ?? "",
    filters,
    order: { column: sort.replace(/^-/, ""), descending: sort.startsWith("-") },
  };
}

/** Names that the state takes in an address; anything else there is kept. */
export const STATE_NAMES = [
  "patient", "at", "plane", "layout", "sequence", "span", "center", "mask", "hide", "window", "turn", "smooth", "crosshair",
  "search", "filter", "sort",
];
