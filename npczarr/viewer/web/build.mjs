// Builds ../static from src: node build.mjs. With --test it builds the unit tests into .tests instead.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";

const common = { bundle: true, format: "esm", target: "es2022", logLevel: "warning", charset: "utf8" };
const absent = new URL("src/absent.ts", import.meta.url).pathname;
common.alias = { "numcodecs/blosc": absent, "numcodecs/lz4": absent, "numcodecs/zstd": absent };
const STATIC = new URL("../static/", import.meta.url);

if (process.argv.includes("--test")) {
  const tests = (await readdir("test")).filter((name) => name.endsWith(".test.ts"));
  await rm(".tests", { recursive: true, force: true });
  await build({
    ...common,
    platform: "node",
    entryPoints: tests.map((name) => `test/${name}`),
    outdir: ".tests",
    outExtension: { ".js": ".mjs" },
  });
} else {
  await mkdir(STATIC, { recursive: true });
  const done = await build({
    ...common,
    platform: "browser",
    minify: true,
    legalComments: "none", // the licenses are in licenses.txt
    metafile: true,
    entryPoints: { viewer: "src/main.ts" },
    outdir: new URL(STATIC).pathname,
    loader: { ".css": "text" },
  });
  await copyFile("src/index.html", new URL("index.html", STATIC));
  await copyFile("src/viewer.css", new URL("viewer.css", STATIC));
  await writeFile(new URL("licenses.txt", STATIC), await licenses(Object.keys(done.metafile.inputs)));
}

/** The licenses of the packages that went into the bundle. */
async function licenses(inputs) {
  const packages = new Set(inputs.map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean));
  const parts = ["Programs of others in the page of npczarr view, each with its license."];
  for (const name of [...packages].sort()) {
    const folder = `node_modules/${name}`;
    const about = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
    const file = (await readdir(folder)).find((one) => /^licen[cs]e/i.test(one));
    const text = file ? await readFile(`${folder}/${file}`, "utf8") : `License: ${about.license}`;
    parts.push(`${"=".repeat(70)}\n${name} ${about.version} (${about.license})\n\n${text.trim()}`);
  }
  return `${parts.join("\n\n")}\n`;
}
