import assert from "node:assert/strict";
import { test } from "node:test";
import { Grid, type Vector } from "../src/geometry.js";
import { dragged, drawImage, drawMask, levelsOf, percentiles, PRESETS, sampling, type Color } from "../src/render.js";
import type { Slice } from "../src/volume.js";

const RED: Color = [255, 0, 0];
const slice = (width: number, height: number, value: (x: number, y: number) => number): Slice => ({
  width, height, values: Float32Array.from({ length: width * height }, (_, i) => value(i % width, Math.floor(i / width))),
});
const grid = (flip: number): Grid => new Grid([1, 8, 8], [flip, 0, 0, flip < 0 ? 7 : 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1]);
const camera = { center: [3.5, 3.5, 0] as Vector, pixelsPerMm: 10, width: 80, height: 80 };
const at = (flip = 1): ReturnType<typeof sampling> => sampling(grid(flip), grid(flip).view("axial"), camera);
const pixel = (pixels: Uint8ClampedArray, x: number, y: number): number[] => Array.from(pixels.subarray(4 * (80 * y + x), 4 * (80 * y + x) + 3));

test("each voxel fills its own square of pixels, from face to face", () => {
  const pixels = new Uint8ClampedArray(80 * 80 * 4);
  drawImage(pixels, slice(8, 8, (x, y) => (x === 2 && y === 5 ? 100 : 0)), at(), { low: 0, high: 100 }, false);
  let lit = 0;
  for (let y = 0; y < 80; y++) for (let x = 0; x < 80; x++) {
    const white = pixel(pixels, x, y)[0] === 255;
    assert.equal(white, x >= 20 && x < 30 && y >= 50 && y < 60);
    lit += Number(white);
  }
  assert.equal(lit, 100);
});

test("a flipped grid shows its voxels where they are in the patient", () => {
  const pixels = new Uint8ClampedArray(80 * 80 * 4);
  drawImage(pixels, slice(8, 8, (x, y) => (x === 5 && y === 5 ? 100 : 0)), at(-1), { low: 0, high: 100 }, false);
  assert.deepEqual(pixel(pixels, 25, 55), [255, 255, 255]);
});

test("smooth pixels equal the voxels at their centers and lie between them elsewhere", () => {
  const pixels = new Uint8ClampedArray(80 * 80 * 4);
  drawImage(pixels, slice(8, 8, (x) => 10 * x), at(), { low: 0, high: 255 }, true);
  const row = Array.from({ length: 80 }, (_, x) => pixel(pixels, x, 40)[0]);
  assert.deepEqual(row, [...row].sort((a, b) => a - b));
  for (let x = 0; x < 8; x++) assert.ok(Math.abs(row[10 * x + 4] - 10 * x) <= 1);
});

test("outside the scan is black, and so is what is no number", () => {
  const pixels = new Uint8ClampedArray(80 * 80 * 4);
  const wide = sampling(grid(1), grid(1).view("axial"), { ...camera, pixelsPerMm: 5 });
  drawImage(pixels, slice(8, 8, (x, y) => (x === 3 && y === 3 ? Number.NaN : 50)), wide, { low: 0, high: 50 }, false);
  assert.deepEqual([pixel(pixels, 5, 5), pixel(pixels, 37, 37), pixel(pixels, 45, 45)], [[0, 0, 0], [0, 0, 0], [255, 255, 255]]);
});

test("an outline reaches as far to both sides of the edge, and only of labels that are shown", () => {
  const mask = slice(8, 8, (x, y) => (x >= 2 && x < 6 && y >= 2 && y < 6 ? (x < 4 ? 1 : 2) : 0));
  for (const reach of [1, 2]) {
    const pixels = new Uint8ClampedArray(80 * 80 * 4);
    drawMask(pixels, { slice: mask, colors: new Map([[1, RED]]) }, at(), "outline", reach);
    for (let y = 0; y < 80; y++) for (let x = 0; x < 80; x++) {
      const [beyondX, beyondY] = [Math.max(20 - x, x - 39), Math.max(20 - y, y - 59)]; // pixels outside; 0 is the last inside
      const inside = beyondX <= 0 && beyondY <= 0 && Math.max(beyondX, beyondY) > -reach;
      const outside = (beyondX <= 0 && beyondY > 0 && beyondY <= reach) || (beyondY <= 0 && beyondX > 0 && beyondX <= reach);
      assert.equal(pixel(pixels, x, y)[0] === 255, inside || outside, `${x} ${y}`);
    }
  }
  const pixels = new Uint8ClampedArray(80 * 80 * 4);
  drawMask(pixels, { slice: mask, colors: new Map([[1, RED]]) }, at(), "fill", 1);
  assert.deepEqual(pixel(pixels, 30, 40), [102, 0, 0]);
  assert.deepEqual(pixel(pixels, 50, 40), [0, 0, 0]);
});

test("gray levels of a constant slice, and of one without numbers, are of some width", () => {
  for (const value of [7, Number.NaN]) {
    const { low, high } = levelsOf(PRESETS[0], slice(8, 8, () => value));
    assert.ok(high > low);
  }
  assert.deepEqual(percentiles(slice(101, 1, (x) => x), [0, 1, 50, 100]), [0, 1, 50, 100]);
});

test("gray levels of values that are small are as fine as the values", () => {
  const levels = { low: 2e-12, high: 6e-12 };
  const pixels = new Uint8ClampedArray(12);
  const at = { columns: Float64Array.of(0, 1, 2), rows: Float64Array.of(0) };
  drawImage(pixels, slice(3, 1, (x) => 2e-12 * (1 + x)), at, levels, false);
  assert.ok(pixels[0] === 0 && Math.abs(pixels[4] - 127.5) < 1 && pixels[8] === 255);
  const { low, high } = dragged(levels, 125, 125);
  assert.ok(Math.abs(high - low - 6e-12) < 1e-18 && Math.abs(high + low - 12e-12) < 1e-18);
});
