import assert from "node:assert/strict";
import { test } from "node:test";
import { facesOf } from "../src/faces.js";
import { dot, Grid, subtract, type Vector } from "../src/geometry.js";
import type { Color } from "../src/render.js";
import { screenOf, turned, type Turn } from "../src/solid.js";

const RED: Color = [255, 0, 0];
const BLUE: Color = [0, 0, 255];
const COLORS = new Map([[1, RED], [2, BLUE]]);
/** Voxels of 2 x 3 x 5 mm, x running to the right of the patient. */
const grid = (shape: readonly number[]): Grid => new Grid(shape, [-2, 0, 0, 10, 0, 3, 0, 20, 0, 0, 5, 30, 0, 0, 0, 1]);
const near = (a: Vector, b: Vector): void => a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) < 1e-9, `${a} ${b}`));

test("one voxel has six faces around its center, as large as the voxel", () => {
  const data = new Uint8Array(4 * 5 * 6);
  data[(2 * 5 + 3) * 6 + 4] = 1;
  const faces = facesOf({ grid: grid([4, 5, 6]), data }, COLORS);
  assert.equal(faces.length, 6);
  const center: Vector = [10 - 2 * 4, 20 + 3 * 3, 30 + 5 * 2];
  for (const { middle, normal, corners, color } of faces) {
    assert.equal(color, RED);
    assert.ok(dot(subtract(middle, center), normal) > 0, "normals point outwards");
    near([0, 1, 2].map((i) => corners.reduce((sum, corner) => sum + corner[i] / 4, 0)) as unknown as Vector, middle);
  }
  const all = faces.flatMap(({ corners }) => corners);
  near([0, 1, 2].map((i) => Math.max(...all.map((c) => c[i]))) as unknown as Vector, [3, 30.5, 42.5]);
  near([0, 1, 2].map((i) => Math.min(...all.map((c) => c[i]))) as unknown as Vector, [1, 27.5, 37.5]);
});

test("voxels at the border are closed, labels that are not drawn are left out, neighbors of another label are seen", () => {
  const data = new Uint8Array(2 * 2 * 2).fill(1);
  assert.equal(facesOf({ grid: grid([2, 2, 2]), data }, COLORS).length, 24);
  data.fill(2, 4);
  assert.equal(facesOf({ grid: grid([2, 2, 2]), data }, COLORS).length, 32);
  assert.equal(facesOf({ grid: grid([2, 2, 2]), data }, new Map([[2, BLUE]])).length, 16);
});

test("a mask of very many faces is drawn coarser, in the same place", () => {
  const [z, y, x] = [2, 256, 256];
  const data = new Uint8Array(z * y * x).fill(1);
  const faces = facesOf({ grid: grid([z, y, x]), data }, COLORS);
  assert.ok(faces.length <= 40_000);
  const all = faces.flatMap(({ corners }) => corners);
  near([0, 1, 2].map((i) => all.reduce((least, c) => Math.min(least, c[i]), Infinity)) as unknown as Vector, [10 - 2 * 255.5, 18.5, 27.5]);
  near([0, 1, 2].map((i) => all.reduce((most, c) => Math.max(most, c[i]), -Infinity)) as unknown as Vector, [11, 20 + 3 * 255.5, 37.5]);
});

test("from the front the patient's left is on the right, from above the front is down, and screens are not mirrored", () => {
  near(screenOf([0, 0]).right, [1, 0, 0]);
  near(screenOf([0, 0]).down, [0, 0, -1]);
  near(screenOf([0, 0]).into, [0, 1, 0]);
  near(screenOf([90, 0]).into, [-1, 0, 0]); // from the patient's left
  near(screenOf([0, 90]).into, [0, 0, -1]); // from the head
  near(screenOf([0, 90]).down, [0, -1, 0]);
  for (const turn of [[0, 0], [25, 15], [200, -70]] as Turn[]) {
    const { right, down, into } = screenOf(turn);
    const cross: Vector = [right[1] * down[2] - right[2] * down[1], right[2] * down[0] - right[0] * down[2], right[0] * down[1] - right[1] * down[0]];
    near(cross, into);
  }
});

test("a turn goes around, and not over the head", () => {
  assert.deepEqual(turned([350, 80], 20, 20), [10, 90]);
  assert.deepEqual(turned([10, -80], -20, -20), [350, -90]);
});
