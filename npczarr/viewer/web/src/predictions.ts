// A model's masks, which the server reads from their files and lays on the grids of the scans.
import type { Grid } from "./geometry.js";
import { HttpObjects } from "./objects.js";
import { Volume, type Chunked } from "./volume.js";

/** What the server says of them: a name, and the scans (index of patient and sequence) that have one. */
export interface Predicted {
  readonly name: string;
  readonly scans: readonly (readonly [number, number])[];
}

export class Predictions {
  readonly name: string;
  readonly #scans: ReadonlySet<string>;
  readonly #objects: HttpObjects;

  constructor({ name, scans }: Predicted, base = "predictions") {
    this.name = name;
    this.#scans = new Set(scans.map((place) => place.join("/")));
    this.#objects = new HttpObjects(base);
  }

  /** The mask of a scan, to be read; null where there is none. */
  volume(patient: number, sequence: number, grid: Grid): Volume | null {
    const key = `${patient}/${sequence}`;
    if (!this.#scans.has(key)) return null;
    const [x, y, z] = grid.count;
    const array: Chunked = {
      dtype: "uint8",
      chunks: [1, 1, z, y, x],
      path: `/${this.name}`,
      store: { absent: new Set() },
      getChunk: async () => {
        const found = await this.#objects.get(key);
        const size = x * y * z;
        if (!found || found.length < size) throw new Error("the prediction does not have the voxels of the scan");
        const message = new TextDecoder().decode(found.subarray(size)); // behind the voxels
        return { data: found.subarray(0, size), stride: [size, size, x * y, x, 1], message };
      },
    };
    return new Volume(array, [patient, sequence], grid);
  }
}
