// How much of patient space a pane shows so that every scan is seen whole.
import { length, subtract, type Grid, type Plane } from "./geometry.js";

const MARGIN = 1.04;

/** Millimeters across the smaller side of a pane: the largest extent of the scans in the planes that are shown. */
export function span(grids: readonly Grid[], planes: readonly Plane[]): number {
  const [first] = grids;
  if (!first) return 250;
  const extents = grids.flatMap((grid) => {
    const off = length(subtract(grid.center, first.center));
    const apart = off < 200 ? 2 * off : 0; // scans of other frames of reference may be anywhere
    return planes.flatMap((plane) => {
      const { across, down } = grid.view(plane);
      return [across, down].map((axis) => grid.count[axis] * grid.spacing[axis] + apart);
    });
  });
  return Math.max(...extents) * MARGIN;
}
