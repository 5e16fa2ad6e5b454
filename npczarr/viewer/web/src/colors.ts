// Which masks are drawn, and in which colors: the store's labels or its raters, and after them a model's masks.
import type { Cohort } from "./cohort.js";
import type { Predictions } from "./predictions.js";
import { colorOf, type Color } from "./render.js";
import type { Legend } from "./toolbar.js";

/** The color of each label that is drawn. */
export type LabelColors = ReadonlyMap<number, Color>;

export class MaskColors {
  readonly #cohort: Cohort;
  readonly #predictions: Predictions | null;

  constructor(cohort: Cohort, predictions: Predictions | null) {
    this.#cohort = cohort;
    this.#predictions = predictions;
  }

  legend(): Legend[] {
    const labels = [...this.#cohort.labels().values()];
    const names = this.#cohort.raters.length ? this.#cohort.raters : labels;
    const predicted = this.#predictions ? labels.map((label) => this.#predictedName(label)) : [];
    return [...names, ...predicted].map((name, color) => ({ name, color }));
  }

  /** For each mask of a series, the colors of its labels; those that are hidden have none. */
  stored(hidden: ReadonlySet<string>): LabelColors[] {
    const labels = this.#cohort.labels();
    const { raters } = this.#cohort;
    if (raters.length)
      return raters.map((rater, i) => new Map(hidden.has(rater) ? [] : [...labels.keys()].map((label) => [label, colorOf(i)])));
    return [new Map([...labels].flatMap(([label, name], i) => (hidden.has(name) ? [] : [[label, colorOf(i)] as const])))];
  }

  /** Colors of a model's labels: those after the store's own. */
  predicted(hidden: ReadonlySet<string>): LabelColors {
    const labels = this.#cohort.labels();
    const drawn = [...labels].map(([label, name], i) => [label, this.#predictedName(name), colorOf(labels.size + i)] as const);
    return new Map(drawn.flatMap(([label, name, color]) => (hidden.has(name) ? [] : [[label, color] as const])));
  }

  #predictedName(label: string): string {
    return `${this.#predictions?.name ?? ""}: ${label}`;
  }
}
