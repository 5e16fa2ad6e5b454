import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeBlosc, decodeLz4 } from "../src/blosc.js";
import { crc32c } from "../src/codecs.js";
import cases from "./blosc.json";

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));

test("what c-blosc encodes is decoded, in every shuffle, type and length", () => {
  assert.ok(cases.length > 30);
  for (const { name, encoded, expected } of cases)
    assert.deepEqual(Buffer.from(decodeBlosc(bytes(encoded))), Buffer.from(bytes(expected)), name);
});

test("what is damaged or cut short is an error, or other values of the right length; never a hang", () => {
  const { encoded, expected } = cases.find(({ name }) => name.includes("lz4 shuffle"))!;
  const whole = bytes(encoded);
  assert.throws(() => decodeBlosc(whole.subarray(0, 10)), /cut short/);
  assert.throws(() => decodeBlosc(whole.subarray(0, whole.length - 5)), /cut short/);
  for (let at = 16; at < whole.length; at += 3) {
    const damaged = whole.slice();
    damaged[at] ^= 0x55;
    try {
      assert.equal(decodeBlosc(damaged).length, bytes(expected).length);
    } catch (error) {
      assert.ok(error instanceof Error);
    }
  }
  assert.throws(() => decodeLz4(new Uint8Array([0x10, 65, 0, 0]), new Uint8Array(9)), /damaged/);
});

test("the checksum is CRC-32C", () => {
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  assert.equal(crc32c(new TextEncoder().encode("12345678901234567")), crc32c(new TextEncoder().encode("12345678901234567")));
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
});
