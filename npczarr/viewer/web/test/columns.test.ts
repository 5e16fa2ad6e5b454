import assert from "node:assert/strict";
import { test } from "node:test";
import { Cohort } from "../src/cohort.js";
import { columnsOf, isVolume, Results, type Column } from "../src/columns.js";
import { number } from "../src/dom.js";

interface Stored {
  readonly dims: string[];
  readonly shape: number[];
  readonly values: readonly (string | number)[];
}
const PATIENTS = ["P00", "P01"];
const scans = (...values: (string | number)[]): Stored => ({ dims: ["patient", "sequence"], shape: [2, 1], values });
const named = (dim: string, ...values: string[]): Stored => ({ dims: [dim], shape: [values.length], values });
const TABLES: Record<string, Stored> = {
  patient: named("patient", ...PATIENTS), sequence: named("sequence", "ADC"), status: scans("ok", "ok"), mask_status: scans("ok", "ok"),
  message: scans("", ""), image_digest: scans("a", "b"), mask_digest: scans("c", "d"), frame_digest: scans("", ""), mask_voxels: scans(2100, 1200),
  shape: { dims: ["patient", "sequence", "axis"], shape: [2, 1, 3], values: [24, 40, 40, 24, 40, 40] },
  spacing: { dims: ["patient", "sequence", "axis"], shape: [2, 1, 3], values: [1, 1, 1, 1, 1, 1] },
  affine: {
    dims: ["patient", "sequence", "affine_row", "affine_column"], shape: [2, 1, 4, 4],
    values: [0, 1].flatMap(() => [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]),
  },
};
const INPUTS = scans("7bfc44df4d2a1fb1a01fb0a9c4a6c7c4", "");

/** Texts as the codec vlen-utf8 writes them, numbers as float64. */
function encoded(values: Stored["values"]): Uint8Array {
  if (typeof values[0] === "number") return new Uint8Array(Float64Array.from(values as number[]).buffer);
  const texts = values.map((value) => new TextEncoder().encode(String(value)));
  const sizes = [values.length, ...texts.map((one) => one.length)].map((n) => [...new Uint8Array(Uint32Array.of(n).buffer)]);
  return Uint8Array.from([...sizes[0], ...texts.flatMap((one, i) => [...sizes[i + 1], ...one])]);
}

function metadata({ dims, shape, values }: Stored): object {
  const text = typeof values[0] !== "number";
  return {
    zarr_format: 3, node_type: "array", shape, dimension_names: dims, data_type: text ? "string" : "float64", fill_value: text ? "" : 0,
    chunk_grid: { name: "regular", configuration: { chunk_shape: shape } }, chunk_key_encoding: { name: "default" },
    codecs: [text ? { name: "vlen-utf8" } : { name: "bytes", configuration: { endian: "little" } }], attributes: {},
  };
}

/** A store of two patients whose masks have these labels, and other tables; all of it is read. */
async function opened(labels: string, more: Record<string, Stored> = {}, groups: Record<string, object> = {}): Promise<Cohort> {
  const tables = { ...TABLES, ...more };
  const words = labels.split(" ");
  const attributes = { flag_values: [0, ...words.map((_, i) => i + 1)], flag_meanings: `background ${labels}` };
  const members = {
    ...Object.fromEntries(Object.entries(tables).map(([name, one]) => [name, metadata(one)])),
    ...Object.fromEntries(Object.entries(groups).map(([name, one]) => [name, { node_type: "group", attributes: one }])),
    mask: { node_type: "array", shape: [2, 1, 24, 40, 40], dimension_names: ["patient", "sequence", "z", "y", "x"], attributes },
  };
  const root = { zarr_format: 3, node_type: "group", attributes: { npczarr_schema: 2 }, consolidated_metadata: { metadata: members } };
  const cohort = await Cohort.open({
    get: (key) => {
      if (key === "zarr.json") return Promise.resolve(new TextEncoder().encode(JSON.stringify(root)));
      return Promise.resolve(encoded(tables[key.split("/c/")[0]].values));
    },
  });
  await Promise.all([...cohort.columns(), ...cohort.entryNames()].map((name) => cohort.load(name)));
  return cohort;
}

/** Results that hold, but for those of some patients. */
const holding = (...stale: number[]): Results => ({ holds: (_: string, patient: number) => !stale.includes(patient) }) as unknown as Results;
const said = (columns: readonly Column[]): [string, number[][]][] =>
  columns.map(({ title, values }) => [title, PATIENTS.map((_, i) => values(i).map((one) => Math.round(Number(one) * 1e6) / 1e6))]);
const volumes = (cohort: Cohort, results: Results | null = holding()): [string, number[][]][] =>
  said(columnsOf(cohort, results).filter(isVolume));

const byLabel = (...values: number[]): Stored => ({ dims: ["patient", "sequence", "label"], shape: [2, 1, 2], values });
const MEASURED = { "morphology/volume": byLabel(90, 1980, 985, 190), "morphology/label": named("label", "tumor", "lymph_node"), "morphology/input_digest": INPUTS };
const BOTH = { morphology: { labels: ["tumor", "lymph_node"] } };

test("each label has the volume that was measured of it", async () => {
  const cohort = await opened("tumor lymph_node", MEASURED, BOTH);
  assert.deepEqual(volumes(cohort), [["tumor volume", [[0.09], [0.985]]], ["lymph node volume", [[1.98], [0.19]]]]);
  const others = columnsOf(cohort, holding()).filter(({ name }) => name.startsWith("morphology"));
  assert.deepEqual(said(others), [["morphology/volume: tumor", [[90], [985]]], ["morphology/volume: lymph node", [[1980], [190]]]]);
});

test("no volume is shown before it is known which results hold, nor where one does not", async () => {
  const several = await opened("tumor lymph_node", MEASURED, BOTH);
  assert.deepEqual(volumes(several, null), [["tumor volume", [[], []]], ["lymph node volume", [[], []]]]);
  const one = await opened("tumor", { "morphology/volume": scans(90, 985), "morphology/input_digest": INPUTS }, { morphology: {} });
  assert.deepEqual(volumes(one, null), [["tumor volume", [[], []]]]);
  assert.deepEqual(volumes(one, holding(1)), [["tumor volume", [[0.09], []]]]);
});

test("voxels are counted where nothing was measured, and of several labels none is called by its name", async () => {
  assert.deepEqual(volumes(await opened("GTV")), [["GTV volume, by voxels", [[2.1], [1.2]]]]);
  assert.deepEqual(volumes(await opened("tumor node")), [["volume of all labels together, by voxels", [[2.1], [1.2]]]]);
  const spacing = { ...TABLES["spacing"], values: [1, 1, 1, Number.NaN, Number.NaN, Number.NaN] };
  assert.deepEqual(volumes(await opened("GTV", { spacing })), [["GTV volume, by voxels", [[2.1], []]]]);
});

test("a result of a label that was chosen is of that label alone", async () => {
  const chosen = { "morphology/node/volume": scans(7000, 8000), "morphology/node/input_digest": INPUTS };
  const attributes = { morphology: {}, "morphology/node": { labels: ["node"] } };
  assert.deepEqual(volumes(await opened("tumor node", chosen, attributes)), [["node volume", [[7], [8]]]]);
  const all = { ...MEASURED, "morphology/label": named("label", "tumor", "node") };
  const both = await opened("tumor node", { ...chosen, ...all }, { ...attributes, morphology: { labels: ["tumor", "node"] } });
  assert.deepEqual(volumes(both), [["tumor volume", [[0.09], [0.985]]], ["node volume", [[1.98], [0.19]]]]);
  const unsaid = { "morphology/volume": scans(7000, 8000), "morphology/input_digest": INPUTS };
  assert.deepEqual(volumes(await opened("tumor node", unsaid, { morphology: {} })).map(([title]) => title), ["volume of all labels together, by voxels"]);
});

test("results of labels and raters are columns of their own, in the order in which they are stored", async () => {
  const values = [1, 2, 3, 4, 5, 6, 7, 8];
  const cohort = await opened("tumor node", {
    "morphology/volume": { dims: ["patient", "sequence", "label", "rater"], shape: [2, 1, 2, 2], values },
    "morphology/label": named("label", "tumor", "node"), "morphology/rater": named("rater", "anna", "bert"),
    "morphology/box_start": { dims: ["patient", "sequence", "axis"], shape: [2, 1, 2], values: [1, 2, 3, 4] },
    rater: named("rater", "anna", "bert"), "morphology/input_digest": INPUTS,
  });
  const found = columnsOf(cohort, holding()).filter(({ name }) => name.startsWith("morphology"));
  assert.deepEqual(said(found), [
    ["morphology/volume: tumor, anna", [[1], [5]]], ["morphology/volume: tumor, bert", [[2], [6]]],
    ["morphology/volume: node, anna", [[3], [7]]], ["morphology/volume: node, bert", [[4], [8]]],
  ]);
  assert.deepEqual(found.map(({ name }) => name)[1], "morphology/volume.tumor.bert");
  assert.deepEqual(volumes(cohort), []);
});

test("a clinical column that has the name of a volume takes nothing from it", async () => {
  const cohort = await opened("tumor", { tumor_volume: { dims: ["patient"], shape: [2], values: [11, 12] } });
  const columns = new Map(columnsOf(cohort, holding()).map((column) => [column.name, column]));
  assert.deepEqual(said(["volume/tumor", "tumor_volume"].map((name) => columns.get(name)!)),
    [["tumor volume, by voxels", [[2.1], [1.2]]], ["tumor volume", [[11], [12]]]]);
});

test("small numbers are written with the digits that count", () => {
  const cases: [number, string][] = [
    [0.00081234, "0.0008123"], [-0.0021, "-0.0021"], [1.5e-9, "1.5e-9"], [0.99999, "1"], [0, "0"], [1.2345, "1.23"], [1234.56, "1,234.6"],
  ];
  for (const [value, text] of cases) assert.equal(number(value), text);
});

test("what reviewers decided is no result that is to be measured again", async () => {
  const cohort = await opened("tumor", { "review/mark": scans("{}", ""), "review/decision": scans("accept", ""), "review/input_digest": INPUTS });
  assert.deepEqual(columnsOf(cohort, holding()).map(({ name }) => name).filter((name) => name.startsWith("review")), []);
});
