// Decoder of Blosc 1 buffers with LZ4 or Zstandard inside. The usual ones are WebAssembly that builds functions from
// text, which the page's content policy forbids, and ten times the rest of the page in size.
import { decompress as unzstd } from "fzstd";

const HEADER = 16;
const MAX_SPLITS = 16;
const MIN_SPLIT = 128; // bytes
const FLAGS = { shuffled: 1, copied: 2, bitShuffled: 4, whole: 16 };
const FORMATS = ["BloscLZ", "LZ4", "Snappy", "zlib", "Zstandard"];

/** Decode a Blosc buffer. */
export function decodeBlosc(source: Uint8Array): Uint8Array {
  if (source.length < HEADER) throw new Error("a Blosc buffer is cut short");
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  const [flags, typeSize] = [source[2], source[3]];
  const [size, blockSize, compressed] = [4, 8, 12].map((at) => view.getUint32(at, true));
  if (compressed > source.length) throw new Error("a Blosc buffer is cut short");
  if (flags & FLAGS.copied) return source.slice(HEADER, HEADER + size);
  const target = new Uint8Array(size);
  const mixed = new Uint8Array(blockSize);
  for (let first = 0, block = 0; first < size; first += blockSize, block++) {
    const length = Math.min(blockSize, size - first);
    const shuffled = Boolean(flags & (FLAGS.shuffled | FLAGS.bitShuffled)) && (typeSize > 1 || Boolean(flags & FLAGS.bitShuffled));
    const into = shuffled ? mixed.subarray(0, length) : target.subarray(first, first + length);
    const split = !(flags & FLAGS.whole) && typeSize <= MAX_SPLITS && blockSize / typeSize >= MIN_SPLIT && length === blockSize;
    decodeBlock(source, view, view.getUint32(HEADER + 4 * block, true), into, split ? typeSize : 1, flags >> 5);
    if (!shuffled) continue;
    const out = target.subarray(first, first + length);
    if (flags & FLAGS.bitShuffled) unshuffleBits(into, out, typeSize);
    else unshuffleBytes(into, out, typeSize);
  }
  return target;
}

function decodeBlock(source: Uint8Array, view: DataView, start: number, into: Uint8Array, parts: number, format: number): void {
  const length = Math.floor(into.length / parts);
  let at = start;
  for (let part = 0; part < parts; part++) {
    const size = view.getInt32(at, true);
    at += 4;
    if (size < 0 || at + size > source.length) throw new Error("a Blosc buffer is damaged");
    const from = source.subarray(at, at + size);
    const to = into.subarray(part * length, (part + 1) * length);
    if (size === length) to.set(from);
    else if (format === 1) decodeLz4(from, to);
    else if (format === 4) unzstd(from, to);
    else throw new Error(`this page does not decode ${FORMATS[format] ?? "this format"} inside Blosc`);
    at += size;
  }
}

/** Decode one block of LZ4, which must fill the target. */
export function decodeLz4(source: Uint8Array, target: Uint8Array): void {
  let [from, to] = [0, 0];
  const extended = (length: number): number => {
    if (length !== 15) return length;
    let more: number;
    do {
      more = source[from++];
      length += more;
    } while (more === 255);
    return length;
  };
  while (from < source.length) {
    const token = source[from++];
    const literals = extended(token >> 4);
    if (to + literals > target.length || from + literals > source.length) throw new Error("an LZ4 block is damaged");
    if (literals > 32) target.set(source.subarray(from, from + literals), to);
    else for (let i = 0; i < literals; i++) target[to + i] = source[from + i];
    from += literals;
    to += literals;
    if (from >= source.length) break; // the last sequence has no match
    const offset = source[from] | (source[from + 1] << 8);
    from += 2;
    const length = extended(token & 15) + 4;
    if (offset === 0 || offset > to || to + length > target.length) throw new Error("an LZ4 block is damaged");
    copyMatch(target, to, offset, length);
    to += length;
  }
  if (to !== target.length) throw new Error("an LZ4 block is cut short");
}

/** Repeat what was decoded before; it may overlap what is being written. */
function copyMatch(target: Uint8Array, to: number, offset: number, length: number): void {
  if (offset === 1) target.fill(target[to - 1], to, to + length);
  else if (offset >= length && length > 32) target.copyWithin(to, to - offset, to - offset + length);
  else for (let i = 0; i < length; i++) target[to + i] = target[to - offset + i];
}

function unshuffleBytes(from: Uint8Array, to: Uint8Array, typeSize: number): void {
  const count = Math.floor(from.length / typeSize);
  for (let byte = 0; byte < typeSize; byte++) {
    const start = byte * count;
    for (let i = 0, at = byte; i < count; i++, at += typeSize) to[at] = from[start + i];
  }
  to.set(from.subarray(count * typeSize), count * typeSize);
}

function unshuffleBits(from: Uint8Array, to: Uint8Array, typeSize: number): void {
  const count = Math.floor(from.length / typeSize);
  if (count % 8) {
    to.set(from); // c-blosc leaves such blocks as they are
    return;
  }
  const row = count / 8;
  for (let bit = 0; bit < 8 * typeSize; bit++) {
    const byte = bit >> 3;
    for (let i = 0; i < count; i++)
      if (from[bit * row + (i >> 3)] & (1 << (i & 7))) to[i * typeSize + byte] |= 1 << (bit & 7);
  }
  to.set(from.subarray(count * typeSize), count * typeSize);
}
