import assert from "node:assert/strict";
import { test } from "node:test";
import { inputText, pythonFloat, type Column } from "../src/columns.js";
import { listed, OPERATORS, type Filter } from "../src/filter.js";
import { seenText } from "../src/seen.js";
import { fromQuery, initial, toQuery, type State } from "../src/state.js";

const state: State = {
  ...initial(), patient: "a&b=c|<1>", at: [1.25, -2, 3], plane: "coronal", layout: "planes", sequence: "CE-T1WI", span: 120.5,
  center: [0, 1, 2], style: "fill", hidden: new Set(["tumor", "x,y"]), levels: new Map([["T1,WI", { low: -5.5, high: 800 }]]),
  smooth: false, crosshair: false, search: "0 1", order: { column: "t_stage", descending: true },
  filters: OPERATORS.map((operator) => ({ column: "t_stage", operator, value: "a|b" })),
};

test("an address brings back all that is shown", () => {
  assert.deepEqual(fromQuery(new URLSearchParams(String(toQuery(state)))), state);
  assert.equal(String(toQuery(initial())), "");
  assert.equal(String(toQuery(initial(), new URLSearchParams("store=x"))), "store=x");
});

test("an address that makes no sense is as usual", () => {
  const query = new URLSearchParams("at=1,2&plane=up&layout=&span=-4&window=9,1,T1&window=x&filter=a|99|b&sort=&mask=red");
  assert.deepEqual(fromQuery(query), initial());
});

const column = (name: string, values: (string | number)[][]): Column =>
  ({ name, title: name, units: "", meaning: "", numeric: true, values: (i) => values[i] });
const patients = ["1", "2", "10", "x"];
const columns = new Map([
  ["volume", column("volume", [[3, 9], [5], [], [1]])],
  ["stage", column("stage", [["T1"], ["T3", "T2"], [], ["t3"]])],
]);
const rows = (filters: Filter[], order = { column: "", descending: false }, search = ""): number[] =>
  listed(patients, columns, { search, filters, order });

test("patients are in the order of numbers, and those without a value are last in both directions", () => {
  assert.deepEqual(rows([]), [0, 1, 2, 3]);
  assert.deepEqual(rows([], { column: "volume", descending: true }), [0, 1, 3, 2]);
  assert.deepEqual(rows([], { column: "volume", descending: false }), [3, 0, 1, 2]);
  assert.deepEqual(rows([], { column: "", descending: true }), [3, 2, 1, 0]);
});

test("one scan is enough to pass a filter, and all filters must be passed", () => {
  const wanted = (column: string, operator: Filter["operator"], value: string): Filter => ({ column, operator, value });
  assert.deepEqual(rows([wanted("stage", "is", "T3")]), [1, 3]);
  assert.deepEqual(rows([wanted("stage", "is not", "T3")]), [0, 2]);
  assert.deepEqual(rows([wanted("stage", "contains", "t")]), [0, 1, 3]);
  assert.deepEqual(rows([wanted("volume", "≥", "5")]), [0, 1]);
  assert.deepEqual(rows([wanted("volume", "≤", "3"), wanted("stage", "is", "t1")]), [0]);
  assert.deepEqual(rows([wanted("volume", "is known", "")]), [0, 1, 3]);
  assert.deepEqual(rows([wanted("volume", "is not known", "")]), [2]);
  assert.deepEqual(rows([], undefined, "1"), [0, 2]);
});

test("ten thousand patients are filtered and sorted in no time", () => {
  const many = Array.from({ length: 10_000 }, (_, i) => String(i));
  const volumes = new Map([["volume", column("volume", many.map((_, i) => [(i * 7919) % 10_007]))]]);
  const found = listed(many, volumes, {
    search: "", filters: [{ column: "volume", operator: "≥", value: "5000" }], order: { column: "volume", descending: true },
  });
  assert.ok(found.length > 4000 && found.length < 6000);
});

test("numbers are written as Python writes them", () => {
  const cases: [number, string][] = [
    [1, "1.0"], [0.43, "0.43"], [1e16, "1e+16"], [1.5e-5, "1.5e-05"], [0.0001, "0.0001"], [123456789012345, "123456789012345.0"],
    [Number.NaN, "nan"], [-0, "-0.0"], [0, "0.0"], [2.5e-300, "2.5e-300"], [-1e22, "-1e+22"],
  ];
  for (const [value, text] of cases) assert.equal(pythonFloat(value), text);
  assert.equal(inputText("ab", [1, 2, 3], [5.5, 0.43, Number.NaN]), "ab ([1, 2, 3], [5.5, 0.43, nan])");
});

test("what a mark is of is written as Python writes it", () => {
  const affine = [0.5, 0, 0, -12.25, 0, -0, 1, 1e-7, 0, 0, 3, 1e16, 0, 0, 0, 1];
  const text = "a b ([1, 2, 3], [5.5, nan, 1.0], [0.5, 0.0, 0.0, -12.25, 0.0, -0.0, 1.0, 1e-07, 0.0, 0.0, 3.0, 1e+16, 0.0, 0.0, 0.0, 1.0])";
  assert.equal(seenText([["a"], ["b"], [1, 2, 3], [5.5, Number.NaN, 1], affine]), text);
});
