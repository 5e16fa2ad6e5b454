// The outer faces of the voxels of a mask, for its picture in three dimensions: what is drawn is what is stored, unsmoothed.
import { add, scale, type Grid, type Vector } from "./geometry.js";
import type { Color } from "./render.js";

/** A mask whose voxels are here: numbers of labels, z by y by x. */
export interface Labels {
  readonly grid: Grid;
  readonly data: ArrayLike<number>;
}
export interface Face {
  readonly corners: readonly [Vector, Vector, Vector, Vector];
  /** Unit vector out of the mask. */
  readonly normal: Vector;
  readonly middle: Vector;
  readonly color: Color;
}

const MOST = 40_000; // more faces than this take longer than a frame to draw

/** Faces between labels that are drawn and everything else, in mm; of a very large mask, those of voxels put together. */
export function facesOf(mask: Labels, colors: ReadonlyMap<number, Color>): Face[] {
  for (let step = 1; ; step *= 2) {
    const found = walk(mask, colors, step, step >= 16 ? Infinity : MOST);
    if (found) return found;
  }
}

/** Faces of every `step`-th voxel along x and y, grown to fill the gaps; null if there are more than `most`. */
function walk({ grid, data }: Labels, colors: ReadonlyMap<number, Color>, step: number, most: number): Face[] | null {
  const [nx, ny, nz] = grid.count;
  const count = [Math.ceil(nx / step), Math.ceil(ny / step), nz];
  const size = [step, step, 1];
  const label = (index: readonly number[]): number => {
    if (index.some((at, axis) => at < 0 || at >= count[axis])) return 0;
    return data[(index[2] * ny + index[1] * step) * nx + index[0] * step];
  };
  const along = grid.directions.map((direction, axis) => scale(direction, grid.spacing[axis] * size[axis]));
  const faces: Face[] = [];
  for (let k = 0; k < count[2]; k++)
    for (let j = 0; j < count[1]; j++)
      for (let i = 0; i < count[0]; i++) {
        const here = data[(k * ny + j * step) * nx + i * step];
        const color = here ? colors.get(here) : undefined;
        if (!color) continue;
        const center = grid.toPoint([i * step + (step - 1) / 2, j * step + (step - 1) / 2, k]);
        for (let axis = 0; axis < 3; axis++)
          for (const way of [-1, 1]) {
            const beyond = [i, j, k];
            beyond[axis] += way;
            if (label(beyond) !== here) faces.push(face(center, along, axis, way, grid.directions[axis], color));
          }
        if (faces.length > most) return null;
      }
  return faces;
}

function face(center: Vector, along: readonly Vector[], axis: number, way: number, direction: Vector, color: Color): Face {
  const middle = add(center, along[axis], way / 2);
  const [a, b] = [0, 1, 2].filter((one) => one !== axis);
  const corner = (s: number, t: number): Vector => add(add(middle, along[a], s), along[b], t);
  return { corners: [corner(-0.5, -0.5), corner(0.5, -0.5), corner(0.5, 0.5), corner(-0.5, 0.5)], normal: scale(direction, way), middle, color };
}
