// Review: what was decided on each scan, and the bar in which it is decided.
import type { Cohort } from "./cohort.js";
import type { Column } from "./columns.js";
import { button, h } from "./dom.js";
import { readJson } from "./read.js";

export interface Mark {
  readonly patient: string;
  readonly sequence: string;
  readonly decision: string;
  readonly reason: string;
  readonly note: string;
  /** Digest of the scan that was looked at. */
  readonly input_digest: string;
}
/** A mark that the server keeps; the version is another whenever anything of it is. */
interface Kept extends Mark {
  readonly version: string;
}
interface Answer {
  readonly file: string;
  /** Where a mark in that file counts, in words. */
  readonly counts: string;
  readonly versions: readonly string[];
}
interface About {
  readonly marks: readonly Kept[];
  readonly problems: readonly string[];
  readonly sample: readonly string[];
  readonly reasons: readonly string[];
}

/** The marks of a store, kept by the server that shows the page. */
export class Review {
  readonly sample: ReadonlySet<string>;
  readonly reasons: readonly string[];
  /** Which marks cannot be read, in words. */
  readonly problems: readonly string[];
  readonly #marks = new Map<string, Kept>();
  readonly #address: string;

  private constructor(address: string, about: About) {
    this.#address = address;
    this.sample = new Set(about.sample);
    this.reasons = about.reasons;
    this.problems = about.problems;
    for (const mark of about.marks) this.#take(mark);
  }

  static async open(address: string): Promise<Review> {
    return new Review(address, await readJson<About>(address));
  }

  #take(mark: Kept): void {
    const key = JSON.stringify([mark.patient, mark.sequence]);
    if (mark.decision) this.#marks.set(key, mark);
    else this.#marks.delete(key);
  }

  of(patient: string, sequence: string): Kept | undefined {
    return this.#marks.get(JSON.stringify([patient, sequence]));
  }

  /** Keep marks, unless another has marked one of the scans meanwhile; when this is over they are stored, else there is
   * an error in words. Returns in words where they are. */
  async keep(marks: readonly Mark[]): Promise<string> {
    const sent = marks.map((mark) => ({ ...mark, before: this.of(mark.patient, mark.sequence)?.version ?? "" }));
    let answer: Response;
    try {
      answer = await fetch(this.#address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(sent) });
    } catch {
      // not sent again: by then another reviewer may have decided
      throw new Error("no answer from the server, so the mark may not be kept; if npczarr view still runs, load the page anew and look");
    }
    if (!answer.ok) throw new Error(`not kept: ${(await answer.text()).trim()}`);
    const { file, counts, versions } = (await answer.json()) as Answer;
    marks.forEach((mark, i) => this.#take({ ...mark, version: versions[i] }));
    return file ? `kept in ${file}; ${counts}` : "kept";
  }
}

/** Columns of the list that belong to a review: what was decided, and how many scans have something to report. */
export function reviewColumns(cohort: Cohort, review: Review): Column[] {
  const each = (patient: number): (Mark | undefined)[] => cohort.sequences.map((sequence) => review.of(cohort.patients[patient], sequence));
  const text = (name: "decision" | "reason"): Column => ({
    name: `review/${name}`, title: `review: ${name}`, units: "", numeric: false, meaning: "what the reviewer decided",
    values: (patient) => each(patient).flatMap((mark) => (mark?.[name] ? [mark[name]] : [])),
  });
  return [text("decision"), text("reason")];
}

/** Number of scans of a patient whose image or mask is not "ok". */
export function warningsColumn(cohort: Cohort): Column {
  const bad = (patient: number): number =>
    cohort.sequences.filter((_, sequence) => ["status", "mask_status"].some((name) => cohort.value(name, patient, sequence) !== "ok")).length;
  return { name: "warnings", title: "scans with warnings", units: "", numeric: true, meaning: "scans whose image or mask is not ok", values: (patient) => [bad(patient)] };
}

type Label = Pick<Mark, "patient" | "sequence">;
export interface BarActions {
  /** Labels of the scans that are shown. */
  scans(): readonly Label[];
  /** Whether the pictures of these scans are drawn, or say why they cannot be. */
  drawn(): boolean;
  /** Digest of a scan as it is drawn. */
  seen(scan: Label): Promise<string>;
  /** Patients of the list, and those of them whose scans are all decided on. */
  progress(): readonly [number, number];
  kept(): void;
  next(): void;
}

/** The bar below the pictures. */
export class ReviewBar {
  readonly element: HTMLElement;
  readonly #review: Review;
  readonly #actions: BarActions;
  readonly #state = h("span", { class: "state" });
  readonly #said = h("span", { class: "said", role: "status" });
  readonly #reason: HTMLSelectElement;
  readonly #note = h("input", { type: "text", maxlength: 2000, "aria-label": "note", placeholder: "note, no names; ↵ saves" });
  /** Notes that were typed and not kept, by the scans that were shown. */
  readonly #drafts = new Map<string, string>();
  #shown = "";
  #busy = false;

  constructor(review: Review, actions: BarActions) {
    this.#review = review;
    this.#actions = actions;
    this.#reason = h("select", { "aria-label": "reason to exclude" }, ...review.reasons.map((reason) => h("option", { value: reason }, reason)));
    this.element = h(
      "section", { class: "review", "aria-label": "review" },
      this.#state,
      button("Accept", "accept, and go on (Y)", () => void this.accept()),
      h("span", { class: "choice" }, button("Exclude", "exclude for this reason, and go on", () => void this.#keep("exclude")), this.#reason),
      this.#note,
      button("Take back", "take the decision back", () => void this.#keep("", false)),
      button("Next", "next patient to be reviewed (.)", actions.next),
      this.#said,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.repeat && event.target instanceof HTMLButtonElement && ["Enter", " "].includes(event.key)) event.preventDefault();
    });
    this.#note.addEventListener("input", () => this.#draft());
    this.#note.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.repeat && !event.isComposing) void this.#keepNote();
    });
    window.addEventListener("beforeunload", (event) => {
      if (this.#drafts.size) event.preventDefault(); // the browser asks
    });
  }

  accept(): Promise<void> {
    return this.#keep("accept");
  }

  /** Where a reason is chosen. */
  focus(): void {
    this.#reason.focus();
  }

  draw(): void {
    const scans = this.#actions.scans();
    const marks = scans.map(({ patient, sequence }) => this.#review.of(patient, sequence));
    const words = new Set(marks.map((mark) => (mark ? `${mark.decision}${mark.reason && `: ${mark.reason}`}` : "not reviewed")));
    const [all, done] = this.#actions.progress();
    const which = scans.length === 1 ? scans[0].sequence : `${scans.length} sequences`;
    this.#state.textContent = `${which}: ${[...words].join(", ") || "none"} · ${done} of ${all} ${all === 1 ? "patient" : "patients"} reviewed`;
    const shown = JSON.stringify(scans);
    if (shown !== this.#shown) {
      if (this.#drafts.has(this.#shown)) this.#said.textContent = `the note of ${named(this.#shown)} is not kept yet; it is there when you go back`;
      this.#shown = shown;
      const notes = this.#notes();
      this.#note.value = this.#drafts.get(shown) ?? (notes.size === 1 ? [...notes][0] : "");
      this.#note.placeholder = notes.size > 1 ? "several notes, each kept unless you write one" : "note, no names; ↵ saves";
      const known = marks.find((mark) => mark?.reason);
      if (known) this.#reason.value = known.reason;
    }
  }

  /** The scans that a decision is for: of several, those that are not decided on, so that no earlier decision is lost. */
  #meant(decision: string): readonly Label[] {
    const scans = this.#actions.scans();
    const open = scans.filter(({ patient, sequence }) => !this.#review.of(patient, sequence));
    return decision && open.length ? open : scans;
  }

  /** Notes that are kept of the scans that a note is for. */
  #notes(): ReadonlySet<string> {
    return new Set(this.#meant("accept").map((scan) => this.#review.of(scan.patient, scan.sequence)?.note ?? ""));
  }

  #draft(): void {
    if (!this.#actions.scans().length || !this.#shown) return; // there is nothing to note
    const notes = this.#notes();
    if (this.#note.value === (notes.size === 1 ? [...notes][0] : "")) this.#drafts.delete(this.#shown);
    else this.#drafts.set(this.#shown, this.#note.value);
  }

  /** Keep the note with the decision that there is. */
  async #keepNote(): Promise<void> {
    const known = this.#meant("accept").map((scan) => this.#review.of(scan.patient, scan.sequence));
    if (known.some((mark) => !mark)) {
      this.#said.textContent = "not kept: there is no decision yet, and the note is kept with one; accept or exclude";
      return;
    }
    const marks = known.flatMap((mark) => mark ?? []).map(({ patient, sequence, decision, reason, note }) =>
      ({ patient, sequence, decision, reason, note: this.#drafts.has(this.#shown) ? this.#note.value : note }));
    await this.#send(marks, false);
  }

  async #keep(decision: string, goOn = true): Promise<void> {
    const reason = decision === "exclude" ? this.#reason.value : "";
    const scans = this.#meant(decision);
    const said = scans.map((scan) => this.#review.of(scan.patient, scan.sequence)?.note ?? "");
    const own = (i: number): string => (this.#note.value === "" && new Set(said).size > 1 ? said[i] : this.#note.value);
    const marks = scans.map((scan, i) => ({ ...scan, decision, reason, note: decision ? own(i) : "" }));
    await this.#send(marks, goOn);
  }

  /** Keep decisions on scans that are shown; one at a time, and only on what can be seen. */
  async #send(scans: readonly Omit<Mark, "input_digest">[], goOn: boolean): Promise<void> {
    if (!scans.length || this.#busy) return;
    if (!this.#actions.drawn()) {
      this.#said.textContent = "not kept: the pictures are still being read; decide once they are drawn";
      return;
    }
    const [shown, draft] = [this.#shown, this.#drafts.get(this.#shown)];
    const stay = this.#actions.scans().filter((scan) => !scans.some(({ sequence }) => sequence === scan.sequence));
    const left = stay.length ? `; ${stay.map(({ sequence }) => sequence).join(", ")} as decided before` : "";
    this.#said.textContent = "keeping…";
    this.#busy = true;
    try {
      const seen = await Promise.all(scans.map((scan) => this.#actions.seen(scan)));
      this.#said.textContent = (await this.#review.keep(scans.map((mark, i) => ({ ...mark, input_digest: seen[i] })))) + left;
    } catch (error) {
      this.#said.textContent = (error as Error).message;
      return;
    } finally {
      this.#busy = false;
    }
    // what was typed meanwhile, or with a decision that was taken back, is not kept
    if (this.#drafts.get(shown) === draft && scans.every(({ decision }) => decision)) this.#drafts.delete(shown);
    const stayed = this.#shown === shown;
    this.#shown = "";
    this.#actions.kept();
    if (goOn && stayed) this.#actions.next();
  }
}

/** Patient and sequences of scans that were shown. */
function named(shown: string): string {
  const scans = JSON.parse(shown) as Label[];
  return `${scans[0].patient}/${scans.map(({ sequence }) => sequence).join(", ")}`;
}
