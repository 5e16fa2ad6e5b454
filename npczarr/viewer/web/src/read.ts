// Reading by GET over a network that may change meanwhile: a laptop joins a VPN, and the browser drops what it was reading.

/** An object that is there but cannot be read, in words for the reader of the page. */
export class ReadError extends Error {}

export interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
}
const WAITS = [100, 400, 1500]; // ms before the second, third and fourth attempt

/**
 * Read an address whole. Where there is no answer, or it breaks off, it is asked for again; an answer of any status is one.
 * `name` is what the error calls it. Only for GET: whoever sends a mark must not send it twice.
 */
export async function read(address: string, name: string, waits: readonly number[] = WAITS): Promise<Answer> {
  for (const wait of [...waits, null]) {
    try {
      const answer = await fetch(address);
      return { status: answer.status, body: new Uint8Array(await answer.arrayBuffer()) };
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // fetch says by this alone that the network failed
      if (wait !== null) await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
  throw new ReadError(`${name}: no answer from the server in ${waits.length + 1} attempts; is it running, and does it allow this page (CORS)?`);
}

/** The words of an answer that is a refusal: status, and what the server says if that is no page. */
export function refusal({ status, body }: Answer): string {
  const said = new TextDecoder().decode(body).trim().slice(0, 500);
  return `the server answers ${status}${said && !said.startsWith("<") ? `, ${said}` : ""}`;
}

/** Read JSON. */
export async function readJson<T>(address: string): Promise<T> {
  const answer = await read(address, address);
  if (answer.status !== 200) throw new ReadError(`${address}: ${refusal(answer)}`);
  return JSON.parse(new TextDecoder().decode(answer.body)) as T;
}
