// The page in a notebook: objects come through the kernel, so there is no port and no server.
import css from "./viewer.css";
import type { ObjectSource } from "./objects.js";
import { Viewer } from "./viewer.js";

interface Model {
  get(name: string): unknown;
  send(content: unknown): void;
  on(event: "msg:custom", callback: (content: Answer, buffers: DataView[]) => void): void;
  off(event: "msg:custom", callback: (content: Answer, buffers: DataView[]) => void): void;
}
interface Answer {
  readonly id: number;
  readonly found: boolean;
  readonly error?: string;
}

/** Asks the kernel for objects. */
class KernelObjects implements ObjectSource {
  readonly #model: Model;
  readonly #waiting = new Map<number, { resolve(found: Uint8Array | undefined): void; reject(error: Error): void }>();
  #last = 0;

  constructor(model: Model) {
    this.#model = model;
    model.on("msg:custom", this.#answer);
  }

  readonly #answer = ({ id, found, error }: Answer, buffers: DataView[]): void => {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new Error(error));
    else if (!found) waiting?.resolve(undefined);
    else waiting?.resolve(new Uint8Array(buffers[0].buffer, buffers[0].byteOffset, buffers[0].byteLength).slice());
  };

  get(key: string): Promise<Uint8Array | undefined> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#model.send({ id, key });
    });
  }

  close(): void {
    this.#model.off("msg:custom", this.#answer);
  }
}

export default {
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const objects = new KernelObjects(model);
    const style = document.createElement("style");
    style.textContent = css;
    const root = document.createElement("div");
    root.style.height = `${Number(model.get("height"))}px`;
    el.replaceChildren(style, root);
    const patient = String(model.get("patient"));
    void Viewer.mount(root, { source: objects, name: String(model.get("name")), address: false, ...(patient && { patient }) });
    return () => objects.close();
  },
};
