// The decoders that zarrita is given: without code made from text, and with checksums that are looked at.
import { decompress as unzstd } from "fzstd";
import { registry } from "zarrita";
import { decodeBlosc } from "./blosc.js";

type Decode = (bytes: Uint8Array) => Uint8Array;

function codec(decode: Decode): never {
  const made = {
    kind: "bytes_to_bytes",
    fromConfig: () => made,
    decode,
    encode: () => {
      throw new Error("the page writes nothing");
    },
  };
  return made as never; // zarrita's type of a codec is of its own classes
}

const POLYNOMIAL = 0x82f63b78; // of CRC-32C, reflected
const LANES = 8;
const TABLES = Array.from({ length: LANES }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  TABLES[0][byte] = crc;
}
for (let lane = 1; lane < LANES; lane++)
  for (let byte = 0; byte < 256; byte++) {
    const before = TABLES[lane - 1][byte];
    TABLES[lane][byte] = (before >>> 8) ^ TABLES[0][before & 255];
  }

/** CRC-32C, eight bytes at a time. */
export function crc32c(bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  let crc = 0xffffffff;
  let at = 0;
  for (; at + LANES <= bytes.length; at += LANES) {
    crc =
      t7[(crc ^ bytes[at]) & 255] ^ t6[((crc >>> 8) ^ bytes[at + 1]) & 255] ^
      t5[((crc >>> 16) ^ bytes[at + 2]) & 255] ^ t4[((crc >>> 24) ^ bytes[at + 3]) & 255] ^
      t3[bytes[at + 4]] ^ t2[bytes[at + 5]] ^ t1[bytes[at + 6]] ^ t0[bytes[at + 7]];
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]) & 255];
  return (crc ^ 0xffffffff) >>> 0;
}

function checked(bytes: Uint8Array): Uint8Array {
  const content = bytes.subarray(0, bytes.length - 4);
  const expected = new DataView(bytes.buffer, bytes.byteOffset + content.length, 4).getUint32(0, true);
  if (crc32c(content) !== expected) throw new Error("its checksum is wrong: the object is damaged");
  return content;
}

/** What codecs say of a damaged object, without the name of the codec around it. */
export function reason(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message : message;
}

registry.set("crc32c", () => codec(checked));
registry.set("blosc", () => codec(decodeBlosc));
// a buffer of its own: zarrita's next decoder looks past the view of one
registry.set("zstd", () => codec((bytes) => unzstd(bytes).slice()));
