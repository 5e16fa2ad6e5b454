import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { HttpObjects } from "../src/objects.js";
import { read, ReadError } from "../src/read.js";
import { Review } from "../src/review.js";

const network = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = network;
});

/** A network that fails so many times, and what was asked of it. */
function failing(times: number, answer: () => Response, error = new TypeError("Failed to fetch")): string[] {
  const asked: string[] = [];
  globalThis.fetch = (address, options) => {
    asked.push(`${options?.method ?? "GET"} ${String(address)}`);
    return asked.length > times ? Promise.resolve(answer()) : Promise.reject(error);
  };
  return asked;
}

test("what a network drops is asked for again", async () => {
  const asked = failing(3, () => new Response(Uint8Array.of(7)));
  assert.deepEqual(await read("a", "a", [0, 0, 0]), { status: 200, body: Uint8Array.of(7) });
  assert.equal(asked.length, 4);
});

test("an object is read although the network changes meanwhile", async () => {
  const asked = failing(1, () => new Response(Uint8Array.of(7)));
  assert.deepEqual(await new HttpObjects("store/").get("image/c/0"), Uint8Array.of(7));
  assert.deepEqual(asked, ["GET store/image/c/0", "GET store/image/c/0"]);
});

test("an answer that breaks off is asked for again", async () => {
  const broken = new ReadableStream({ start: (controller) => controller.error(new TypeError("network error")) });
  let asked = 0;
  globalThis.fetch = () => Promise.resolve(new Response(asked++ ? "whole" : broken));
  assert.equal(new TextDecoder().decode((await read("a", "a", [0])).body), "whole");
});

test("a network that stays away is an error in words", async () => {
  const asked = failing(9, () => new Response());
  await assert.rejects(read("a", "image/c/0", [0, 0]), new ReadError("image/c/0: no answer from the server in 3 attempts; is it running, and does it allow this page (CORS)?"));
  assert.equal(asked.length, 3);
});

test("a refusal is an answer, and other errors are no network", async () => {
  const asked = failing(0, () => new Response("the disk is away\n", { status: 502 }));
  await assert.rejects(new HttpObjects("store").get("x"), new ReadError("x: the server answers 502, the disk is away"));
  assert.equal(asked.length, 1);
  failing(0, () => new Response("", { status: 404 }));
  assert.equal(await new HttpObjects("store").get("x"), undefined);
  failing(1, () => new Response(), new RangeError("bug") as TypeError);
  await assert.rejects(read("a", "a", [0]), RangeError);
});

test("a mark is sent once", async () => {
  failing(0, () => Response.json({ marks: [], problems: [], sample: [], reasons: [] }));
  const review = await Review.open("review.json");
  const asked = failing(1, () => Response.json({ file: "" }));
  const mark = { patient: "001", sequence: "T1WI", decision: "accept", reason: "", note: "", input_digest: "" };
  await assert.rejects(review.keep([mark]), /may not be kept/);
  assert.deepEqual(asked, ["POST review.json"]);
  assert.equal(review.of("001", "T1WI"), undefined);
});
