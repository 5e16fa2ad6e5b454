// Where the objects of a store come from: a server, or the notebook that shows the page.

/** Reads objects by key, such as "image/c/0/0/0/0/0"; undefined where there is none. */
export interface ObjectSource {
  get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
}

/** An object that is there but cannot be read, in words for the reader of the page. */
export class ReadError extends Error {}

/** Objects below an address, by plain GET. */
export class HttpObjects implements ObjectSource {
  readonly #base: string;

  constructor(base: string) {
    this.#base = base.replace(/\/+$/, "");
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const url = `${this.#base}/${key.split("/").map(encodeURIComponent).join("/")}`;
    let answer: Response;
    try {
      answer = await fetch(url, { signal: signal ?? null });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ReadError(`${key}: no answer from the server; is it running, and does it allow this page (CORS)?`);
    }
    if (answer.status === 404) return undefined;
    if (!answer.ok) {
      const said = (await answer.text()).trim().slice(0, 500);
      throw new ReadError(`${key}: the server answers ${answer.status}${said && !said.startsWith("<") ? `, ${said}` : ""}`);
    }
    return new Uint8Array(await answer.arrayBuffer());
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
