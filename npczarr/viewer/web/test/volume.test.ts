import assert from "node:assert/strict";
import { test } from "node:test";
import { Grid } from "../src/geometry.js";
import { levelsOf, PRESETS } from "../src/render.js";
import { Volume } from "../src/volume.js";

const PADDING = -32768;
const grid = new Grid([2, 3, 4], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
/** A scan of int16 whose voxels (x, y, z) are stored as 10 x + y + z, and are padding from x = 2 on. */
const stored = Int16Array.from({ length: 24 }, (_, i) => {
  const [x, y, z] = [i % 4, Math.floor(i / 4) % 3, Math.floor(i / 12)];
  return x < 2 ? 10 * x + y + z : PADDING;
});
const array = {
  dtype: "int16", chunks: [1, 1, 2, 3, 4], path: "/image", store: { absent: new Set<string>() },
  getChunk: async () => ({ data: stored, stride: [24, 24, 12, 4, 1] }),
};
const volume = async (padding?: number): Promise<Volume> => {
  const made = new Volume(array, [0, 0], grid, padding);
  await made.load();
  return made;
};

test("padding is no value, with a rescale and without, and takes no part in the gray levels", async () => {
  const axial = grid.view(grid.ownPlane);
  for (const slope of [1, 0.5]) {
    const made = await volume(PADDING);
    made.scaling = { slope: [slope, slope], intercept: [0, 0] };
    const slice = made.slice(axial, 1);
    assert.equal(slice.values.filter((value) => Number.isNaN(value)).length, 6);
    assert.deepEqual(levelsOf(PRESETS[1], slice), { low: slope, high: 13 * slope });
    assert.ok(Number.isNaN(made.valueAt([2, 0, 0])));
    assert.equal(made.valueAt([1, 2, 1]), 13 * slope);
    assert.equal(made.data[2], PADDING); // what the digest is of
  }
});

test("where there is no padding every stored number is a value", async () => {
  const slice = (await volume()).slice(grid.view(grid.ownPlane), 0);
  assert.equal(Math.min(...slice.values), PADDING);
});
