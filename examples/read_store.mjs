// A reader of a cohort store in JavaScript, with zarrita, written from npczarr/store/FORMAT.md.
//
//   npm ci
//   node read_store.mjs npc.zarr 002 T1WI scan     # a folder, or an https:// address
//
// prints what is known of the scan, and writes scan.image and scan.mask: voxels in C order, little endian.
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import FileSystemStore from "@zarrita/storage/fs";
import * as zarr from "zarrita";

const STORED = ["ok", "warning"];

/** Read one scan: { status, shape, dtype, spacing, affine, slope, intercept, image, mask }. */
export async function readScan(url, patient, sequence) {
  const root = zarr.root(checked(url.includes("://") ? new zarr.FetchStore(url) : new FileSystemStore(resolve(url))));
  const { attrs } = await zarr.open.v3(root, { kind: "group" });
  if (attrs.npczarr_schema !== 2) throw new Error(`${url}: no cohort store of schema version 2`);

  const open = (name) => zarr.open.v3(root.resolve(name), { kind: "array" });
  const place = [await index(open, "patient", patient), await index(open, "sequence", sequence)];
  const row = async (name) => {
    const array = await open(name);
    const found = await zarr.get(array, [...place, ...array.shape.slice(2).map(() => null)]);
    return array.shape.length === 2 ? found : Array.from(found.data);
  };
  const status = await row("status");
  if (!STORED.includes(status)) throw new Error(`${patient}/${sequence} is ${status}: ${await row("message")}`);

  const shape = await row("shape"); // z, y, x
  const image = await open("image");
  const mask = await open("mask");
  const hasImage = (await row("image_digest")) !== ""; // a store of several raters holds masks alone
  const hasMask = STORED.includes(await row("mask_status"));
  const raters = mask.shape.length === 6 ? [null] : [];
  const box = shape.map((n) => zarr.slice(0, n));
  return {
    status,
    message: await row("message"),
    shape,
    dtype: image.dtype,
    spacing: await row("spacing"), // mm along z, y, x
    affine: await row("affine"), // 4 x 4 by rows: index (x, y, z, 1) to patient coordinates (LPS) in mm
    slope: (await row("rescale_slope")).slice(0, shape[0]), // real value = slope * stored value + intercept
    intercept: (await row("rescale_intercept")).slice(0, shape[0]),
    image: hasImage ? (await zarr.get(image, [...place, ...box])).data : null,
    mask: hasMask ? (await zarr.get(mask, [...place, ...raters, ...box])).data : null,
  };
}

async function index(open, dim, label) {
  const labels = Array.from((await zarr.get(await open(dim))).data);
  const found = labels.indexOf(label);
  if (found < 0) throw new Error(`no ${dim} ${label}; there are ${labels.join(", ")}`);
  return found;
}

/** A store in which an absent chunk is an error: only boxes of stored scans are read, and tables are written whole. */
function checked(store) {
  return {
    async get(key, options) {
      const found = await store.get(key, options);
      if (found === undefined && /\/c\//.test(key)) throw new Error(`${key} is absent: the store is damaged`);
      return found;
    },
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [url, patient, sequence, out] = process.argv.slice(2);
  const { image, mask, ...known } = await readScan(url, patient, sequence);
  console.log(JSON.stringify(known));
  if (out && image) await writeFile(`${out}.image`, new Uint8Array(image.buffer, image.byteOffset, image.byteLength));
  if (out && mask) await writeFile(`${out}.mask`, new Uint8Array(mask.buffer, mask.byteOffset, mask.byteLength));
}
