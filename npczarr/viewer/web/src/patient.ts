// One patient: the volumes of every sequence, and the order in which they are read.
import type { Cohort, Scan } from "./cohort.js";
import type { Vector } from "./geometry.js";
import type { Predictions } from "./predictions.js";
import { CHANGED, changedSince } from "./seen.js";
import { digest, largestSlice, Volume } from "./volume.js";

/** One sequence of the patient that is shown. */
export interface Series {
  readonly scan: Scan;
  readonly image: Volume | null;
  /** One for each rater; one where there are none. */
  readonly masks: readonly Volume[];
  /** A model's mask. */
  readonly predicted: Volume | null;
  /** What is wrong with it, in words. */
  problems: string[];
}

export class Patient {
  readonly index: number;
  readonly series: readonly Series[];
  /** The middle of the largest tumor slice of the first sequence that has a mask, in mm. */
  middle: Vector | null = null;
  readonly #cohort: Cohort;
  #first: Promise<void> | null = null;
  #rest: Promise<void> | null = null;

  private constructor(cohort: Cohort, index: number, series: readonly Series[]) {
    this.#cohort = cohort;
    this.index = index;
    this.series = series;
  }

  static async make(cohort: Cohort, index: number, predictions: Predictions | null): Promise<Patient> {
    const [image, mask] = await Promise.all([cohort.array("image"), cohort.array("mask")]);
    const raters = cohort.raters.length ? cohort.raters.map((_, i) => [i]) : [[]];
    const series = cohort.sequences.map((_, sequence): Series => {
      const scan = cohort.scan(index, sequence);
      const place = [index, sequence];
      const problems = scan.problem ? [`it cannot be shown: ${scan.problem}`] : [];
      const { grid } = scan;
      return {
        scan,
        image: grid && scan.hasImage ? new Volume(image, place, grid, cohort.paddingOfImage) : null,
        masks: grid && scan.hasMask ? raters.map((rater) => new Volume(mask, [...place, ...rater], grid)) : [],
        predicted: (grid && predictions?.volume(index, sequence, grid)) ?? null,
        problems,
      };
    });
    return new Patient(cohort, index, series);
  }

  get shown(): Series[] {
    return this.series.filter(({ scan }) => scan.grid !== null);
  }

  get bytes(): number {
    return this.series.flatMap(volumes).reduce((n, v) => n + v.bytes, 0);
  }

  /** Read the masks, and of each image the chunk with the slice through a point: by default through the tumor. */
  first(at: Vector | null): Promise<void> {
    this.#first ??= this.#loadFirst(at);
    return this.#first;
  }

  async #loadFirst(at: Vector | null): Promise<void> {
    const masks = this.shown.map((series) => this.#tried(series, Promise.all(series.masks.map((mask) => mask.load()))));
    const scaled = this.shown.map((series) => this.#tried(series, this.#scale(series)));
    const reference = this.shown.findIndex((series) => series.masks.length > 0);
    if (reference >= 0) {
      await masks[reference];
      const mask = this.shown[reference].masks.map(largestSlice).find((found) => found !== null);
      if (mask) this.middle = this.shown[reference].scan.grid?.toPoint(mask.index) ?? null;
    }
    const point = at ?? this.middle ?? this.shown[0]?.scan.grid?.center ?? [0, 0, 0];
    const images = this.shown.map((series) =>
      this.#tried(series, series.image?.loadSlice(sliceAt(series, point)) ?? Promise.resolve()),
    );
    await Promise.all([...masks, ...scaled, ...images]);
  }

  /** Read everything else, and hold it against the store's digests. */
  rest(at: Vector): Promise<void> {
    this.#rest ??= this.#loadRest(at);
    return this.#rest;
  }

  async #loadRest(at: Vector): Promise<void> {
    await Promise.all(
      this.shown.map(async (series) => {
        const predicted = this.#tried(series, series.predicted?.load() ?? Promise.resolve(), "the prediction cannot be read");
        await this.#tried(series, series.image?.load(sliceAt(series, at)) ?? Promise.resolve());
        await predicted;
        if (series.predicted?.message) series.problems.push(`prediction: ${series.predicted.message}`);
      }),
    );
    const changed = await changedSince(this.#cohort, this.index).catch((error: unknown) => error as Error);
    await Promise.all(this.shown.map((series) => this.#verify(series, changed)));
  }

  async #scale({ image, scan }: Series): Promise<void> {
    if (!image) return;
    const depth = image.grid.count[2];
    const [slope, intercept] = await Promise.all(
      ["rescale_slope", "rescale_intercept"].map((name) => this.#cohort.slices(name, scan.patient, scan.sequence, depth)),
    );
    image.scaling = { slope, intercept };
  }

  async #tried(series: Series, work: Promise<unknown>, problem = "it cannot be read"): Promise<void> {
    try {
      await work;
    } catch (error) {
      series.problems = [...new Set([...series.problems, `${problem}: ${(error as Error).message}`])];
    }
  }

  async #verify(series: Series, changed: readonly boolean[] | Error): Promise<void> {
    const { image, masks, scan } = series;
    if (changed instanceof Error) series.problems.push(`whether it has changed since this page was loaded cannot be read: ${changed.message}`);
    else if (changed[scan.sequence]) {
      series.problems.push(CHANGED);
      return;
    }
    const parts: [string, readonly Volume[], string][] = [
      ["image", image ? [image] : [], scan.imageDigest],
      ["mask", masks, scan.maskDigest],
    ];
    for (const [name, volumes, expected] of parts) {
      if (!volumes.length || !expected || !volumes.every((volume) => volume.whole)) continue;
      if ((await digest(volumes)) === expected) continue;
      const absent = volumes.flatMap((volume) => volume.absent);
      const why = absent.length ? `the object ${absent[0]} is absent` : "its voxels are not those that were stored";
      series.problems.push(`the ${name} is damaged or was changed, ${why}; check the store with npczarr validate`);
    }
  }
}

/** Everything of a sequence that has voxels. */
function volumes({ image, masks, predicted }: Series): Volume[] {
  return [image, ...masks, predicted].filter((volume) => volume !== null);
}

/** The slice of a sequence that is nearest to a point. */
export function sliceAt({ scan }: Series, point: Vector): number {
  const { grid } = scan;
  if (!grid) return 0;
  return Math.min(Math.max(Math.round(grid.toIndex(point)[2]), 0), grid.count[2] - 1);
}

/** The patients that were read last, and the next one, as much as memory allows. */
export class Patients {
  readonly #cohort: Cohort;
  readonly #kept = new Map<number, Promise<Patient>>();
  readonly #sizes = new Map<number, number>();
  readonly #most: number;
  readonly #predictions: Predictions | null;

  constructor(cohort: Cohort, predictions: Predictions | null, most = 600e6) {
    this.#cohort = cohort;
    this.#predictions = predictions;
    this.#most = most;
  }

  get(index: number): Promise<Patient> {
    const found = this.#kept.get(index) ?? Patient.make(this.#cohort, index, this.#predictions);
    this.#kept.delete(index);
    this.#kept.set(index, found); // the last is the newest
    found.then((patient) => {
      this.#sizes.set(index, patient.bytes);
      this.#forget();
    }, () => this.#kept.delete(index));
    return found;
  }

  #forget(): void {
    const total = (): number => [...this.#kept.keys()].reduce((sum, index) => sum + (this.#sizes.get(index) ?? 0), 0);
    for (const index of [...this.#kept.keys()].slice(0, -2)) {
      if (total() <= this.#most) return;
      this.#kept.delete(index);
      this.#sizes.delete(index);
    }
  }
}
