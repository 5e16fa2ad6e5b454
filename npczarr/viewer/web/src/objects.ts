// Where the objects of a store come from: a server, or the notebook that shows the page.
import { read, ReadError, refusal } from "./read.js";

/** Reads objects by key, such as "image/c/0/0/0/0/0"; undefined where there is none. */
export interface ObjectSource {
  get(key: string): Promise<Uint8Array | undefined>;
}

/** Objects below an address, by plain GET. */
export class HttpObjects implements ObjectSource {
  readonly #base: string;

  constructor(base: string) {
    this.#base = base.replace(/\/+$/, "");
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const answer = await read(`${this.#base}/${key.split("/").map(encodeURIComponent).join("/")}`, key);
    if (answer.status === 404) return undefined;
    if (answer.status < 200 || answer.status > 299) throw new ReadError(`${key}: ${refusal(answer)}`);
    return answer.body;
  }
}

/** Counts what is read, and gives two who want the same object at once the same request. */
export class CountingObjects implements ObjectSource {
  readonly #source: ObjectSource;
  readonly #running = new Map<string, Promise<Uint8Array | undefined>>();
  readonly keys: string[] = [];
  bytes = 0;

  constructor(source: ObjectSource) {
    this.#source = source;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    const running = this.#running.get(key);
    if (running) return running;
    this.keys.push(key);
    const request = this.#source
      .get(key)
      .then((found) => {
        this.bytes += found?.byteLength ?? 0;
        return found;
      })
      .finally(() => this.#running.delete(key));
    this.#running.set(key, request);
    return request;
  }
}
