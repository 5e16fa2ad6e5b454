// Patient space (LPS, mm), the grid of a scan in it, and the planes in which a scan is shown.

export type Vector = readonly [number, number, number];
/** Screen orientation of a pane. */
export type Plane = "axial" | "coronal" | "sagittal";
export const PLANES: readonly Plane[] = ["axial", "coronal", "sagittal"];

export const dot = (a: Vector, b: Vector): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const add = (a: Vector, b: Vector, factor = 1): Vector => [
  a[0] + factor * b[0],
  a[1] + factor * b[1],
  a[2] + factor * b[2],
];
export const subtract = (a: Vector, b: Vector): Vector => add(a, b, -1);
export const scale = (a: Vector, factor: number): Vector => [a[0] * factor, a[1] * factor, a[2] * factor];
export const length = (a: Vector): number => Math.hypot(...a);

/** To the right and downwards on the screen, and the axis seen end on: of axial slices the front of the head is up. */
const SCREEN: Record<Plane, { right: Vector; down: Vector; normal: number }> = {
  sagittal: { right: [0, 1, 0], down: [0, 0, -1], normal: 0 },
  coronal: { right: [1, 0, 0], down: [0, 0, -1], normal: 1 },
  axial: { right: [1, 0, 0], down: [0, 1, 0], normal: 2 },
};
const ENDS = ["RL", "AP", "IS"]; // letters against and along x, y, z

/** The voxels of one scan in patient space. */
export class Grid {
  /** Voxels along x, y, z. */
  readonly count: Vector;
  /** Unit vectors along the voxel axes x, y, z. */
  readonly directions: readonly [Vector, Vector, Vector];
  /** Distance of voxel centers along x, y, z in mm. */
  readonly spacing: Vector;
  readonly origin: Vector;
  /** For x, y, z of patient space, the voxel axis that runs nearest to it. */
  readonly axisNear: Vector;

  /**
   * @param shape voxels along z, y, x
   * @param affine 16 numbers by rows, index (x, y, z, 1) to LPS mm; its first three columns are orthogonal
   */
  constructor(shape: ArrayLike<number>, affine: ArrayLike<number>) {
    this.count = [shape[2], shape[1], shape[0]];
    const column = (j: number): Vector => [affine[j], affine[4 + j], affine[8 + j]];
    this.origin = column(3);
    const columns = [column(0), column(1), column(2)] as const;
    this.spacing = [length(columns[0]), length(columns[1]), length(columns[2])];
    if (!(Math.min(...this.count) > 0 && Math.min(...this.spacing) > 0 && Number.isFinite(dot(this.origin, [1, 1, 1]))))
      throw new Error("its shape or its affine make no sense; npczarr validate says more");
    this.directions = [
      scale(columns[0], 1 / this.spacing[0]),
      scale(columns[1], 1 / this.spacing[1]),
      scale(columns[2], 1 / this.spacing[2]),
    ];
    this.axisNear = nearestAxes(this.directions);
  }

  /** Voxel index (x, y, z) of a point, not rounded. */
  toIndex(point: Vector): Vector {
    const from = subtract(point, this.origin);
    return [0, 1, 2].map((axis) => dot(from, this.directions[axis]) / this.spacing[axis]) as unknown as Vector;
  }

  /** Point of a voxel index (x, y, z). */
  toPoint(index: Vector): Vector {
    return [0, 1, 2].reduce<Vector>(
      (point, axis) => add(point, this.directions[axis], index[axis] * this.spacing[axis]),
      this.origin,
    );
  }

  get center(): Vector {
    return this.toPoint([(this.count[0] - 1) / 2, (this.count[1] - 1) / 2, (this.count[2] - 1) / 2]);
  }

  /** The plane in which the scan was taken. */
  get ownPlane(): Plane {
    return PLANES.find((plane) => this.axisNear[SCREEN[plane].normal] === 2) as Plane;
  }

  /** How the scan lies on the screen in a plane: always along its own voxel axes, so no slice is mixed with another. */
  view(plane: Plane): PlaneView {
    const { right, down, normal } = SCREEN[plane];
    const axisOf = (wanted: Vector): number => this.axisNear[wanted.findIndex((value) => value !== 0)];
    const [across, downward, through] = [axisOf(right), axisOf(down), this.axisNear[normal]];
    const signed = (axis: number, wanted: Vector): Vector =>
      scale(this.directions[axis], dot(this.directions[axis], wanted) < 0 ? -1 : 1);
    return {
      plane,
      across,
      down: downward,
      through,
      rightward: signed(across, right),
      downward: signed(downward, down),
      inward: this.directions[through],
    };
  }
}

/** A plane along voxel axes: which axis runs across, down and through it, and unit vectors of the screen in mm. */
export interface PlaneView {
  readonly plane: Plane;
  readonly across: number;
  readonly down: number;
  readonly through: number;
  readonly rightward: Vector;
  readonly downward: Vector;
  readonly inward: Vector;
}

/** Match voxel axes with those of the patient, the best match first, so that each is taken once. */
function nearestAxes(directions: readonly [Vector, Vector, Vector]): Vector {
  const pairs = [0, 1, 2].flatMap((voxel) => [0, 1, 2].map((patient) => ({ voxel, patient })));
  pairs.sort((a, b) => Math.abs(directions[b.voxel][b.patient]) - Math.abs(directions[a.voxel][a.patient]));
  const found = [-1, -1, -1];
  for (const { voxel, patient } of pairs) if (found[patient] < 0 && !found.includes(voxel)) found[patient] = voxel;
  return found as unknown as Vector;
}

/** Letters of the side of the patient to which a direction points: two where it is oblique, such as "LA". */
export function side(direction: Vector): string {
  const axes = [0, 1, 2].sort((a, b) => Math.abs(direction[b]) - Math.abs(direction[a]));
  const letter = (axis: number): string => ENDS[axis][direction[axis] > 0 ? 1 : 0];
  return letter(axes[0]) + (Math.abs(direction[axes[1]]) > 0.35 ? letter(axes[1]) : "");
}

/** Where a pane looks: the point in its middle, and how many screen pixels are a mm. */
export interface Camera {
  readonly center: Vector;
  readonly pixelsPerMm: number;
  readonly width: number;
  readonly height: number;
}

/** Screen position of a point, measured along the plane. */
export function project(point: Vector, view: PlaneView, camera: Camera): [number, number] {
  const from = subtract(point, camera.center);
  return [
    camera.width / 2 + camera.pixelsPerMm * dot(from, view.rightward),
    camera.height / 2 + camera.pixelsPerMm * dot(from, view.downward),
  ];
}

/** The point at a screen position, in the plane through another point. */
export function unproject(x: number, y: number, through: Vector, view: PlaneView, camera: Camera): Vector {
  const [atX, atY] = project(through, view, camera);
  const moved = add(through, view.rightward, (x - atX) / camera.pixelsPerMm);
  return add(moved, view.downward, (y - atY) / camera.pixelsPerMm);
}

/** A length for the ruler: 1, 2 or 5 times a power of ten in mm, at most a share of a width. */
export function rulerLength(pixelsPerMm: number, width: number): number {
  const most = (width * 0.3) / pixelsPerMm;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([5, 2, 1].find((step) => step * power <= most) ?? 1);
}
