import assert from "node:assert/strict";
import { test } from "node:test";
import { add, Grid, length, PLANES, project, rulerLength, side, subtract, unproject, type Vector } from "../src/geometry.js";
import { span } from "../src/span.js";

/** Affine by rows of columns along x, y, z. */
const affine = (x: Vector, y: Vector, z: Vector, origin: Vector): number[] =>
  [0, 1, 2].flatMap((row) => [x[row], y[row], z[row], origin[row]]).concat([0, 0, 0, 1]);
const AXIAL = affine([0.5, 0, 0], [0, 0.5, 0], [0, 0, 5], [-60, -70, 10]);
const close = (a: ArrayLike<number>, b: ArrayLike<number>): void =>
  Array.from(a).forEach((value, i) => assert.ok(Math.abs(value - b[i]) < 1e-9, `${Array.from(a)} is not ${Array.from(b)}`));

/** A rotation about an axis that is no axis of the patient. */
function oblique(degrees: number): [Vector, Vector, Vector] {
  const [c, s] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  return [[c, s, 0], [-s * c, c * c, s], [s * s, -s * c, c]];
}

test("index and point are inverse, also in oblique grids", () => {
  const [x, y, z] = oblique(27);
  const grid = new Grid([7, 6, 5], affine(add([0, 0, 0], x, 0.7), add([0, 0, 0], y, 0.8), add([0, 0, 0], z, 4), [3, -8, 20]));
  for (const index of [[0, 0, 0], [4, 5, 6], [1.25, 2.5, 3]] as Vector[]) close(grid.toIndex(grid.toPoint(index)), index);
  close(grid.spacing, [0.7, 0.8, 4]);
});

test("axial slices have the right of the patient at the left and the front up, however their voxels run", () => {
  for (const [fx, fy, fz] of [[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1], [-1, -1, -1]]) {
    const grid = new Grid([4, 4, 4], affine([fx, 0, 0], [0, fy, 0], [0, 0, fz * 5], [0, 0, 0]));
    const view = grid.view("axial");
    assert.equal(side(view.rightward), "L");
    assert.equal(side(view.downward), "P");
    assert.equal(view.through, 2);
    assert.equal(grid.ownPlane, "axial");
  }
});

test("coronal and sagittal views have the head up", () => {
  const grid = new Grid([4, 5, 6], AXIAL);
  assert.deepEqual([side(grid.view("coronal").rightward), side(grid.view("coronal").downward)], ["L", "I"]);
  assert.deepEqual([side(grid.view("sagittal").rightward), side(grid.view("sagittal").downward)], ["P", "I"]);
  const sagittal = new Grid([4, 5, 6], affine([0, 0.5, 0], [0, 0, -0.5], [-4, 0, 0], [0, 0, 0]));
  assert.equal(sagittal.ownPlane, "sagittal");
  assert.equal(side([0.8, 0.6, 0]), "LP");
});

test("every plane of every grid uses each voxel axis once", () => {
  for (const degrees of [0, 20, 44, 45, 46, 80, 135]) {
    const [x, y, z] = oblique(degrees);
    const grid = new Grid([4, 5, 6], affine(x, y, z, [0, 0, 0]));
    for (const plane of PLANES) {
      const { across, down, through } = grid.view(plane);
      assert.deepEqual([across, down, through].sort(), [0, 1, 2]);
    }
  }
});

test("screen and patient space are inverse in the plane through a point, and a mm is as long everywhere", () => {
  const grid = new Grid([4, 5, 6], AXIAL);
  const camera = { center: [1, 2, 3] as Vector, pixelsPerMm: 2.5, width: 300, height: 200 };
  for (const plane of PLANES) {
    const view = grid.view(plane);
    const point = unproject(40, 150, [4, 5, 6], view, camera);
    close(project(point, view, camera), [40, 150]);
    const other = unproject(65, 150, [4, 5, 6], view, camera);
    assert.ok(Math.abs(length(subtract(point, other)) - 10) < 1e-9);
  }
  close(project([1, 2, 3], grid.view("axial"), camera), [150, 100]);
});

test("a grid that makes no sense is refused", () => {
  assert.throws(() => new Grid([0, 0, 0], AXIAL), /no sense/);
  assert.throws(() => new Grid([4, 5, 6], AXIAL.map(() => Number.NaN)), /no sense/);
});

test("rulers are 1, 2 or 5 times a power of ten and fit", () => {
  for (const pixelsPerMm of [0.2, 1, 3.3, 40])
    for (const width of [80, 400, 1500]) {
      const mm = rulerLength(pixelsPerMm, width);
      assert.ok(mm * pixelsPerMm <= 0.3 * width + 1e-9);
      assert.match(mm.toExponential(), /^[125]e/);
    }
});

test("everything that is shown fits into the span", () => {
  const grid = new Grid([10, 240, 200], AXIAL);
  assert.ok(span([grid], ["axial"]) >= 120);
  assert.ok(span([grid], ["axial"]) < 130);
  assert.ok(span([], ["axial"]) > 0);
});
