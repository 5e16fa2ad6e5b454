// The page in a browser of its own, served by npczarr view or put beside a public store; and the one in a notebook.
import { HttpObjects } from "./objects.js";
import type { Predicted } from "./predictions.js";
import { readJson } from "./read.js";
import { Viewer } from "./viewer.js";

/** The store's address and name: that of the server, or what ?store= names. */
async function where(): Promise<{ url: string; name: string; review?: string; predictions?: Predicted } | null> {
  if (document.documentElement.dataset["mode"] === "server") {
    const about = await readJson<{ name: string; predictions: Predicted | null }>("about.json");
    return { url: "store", name: about.name, review: "review.json", ...(about.predictions && { predictions: about.predictions }) };
  }
  const store = new URLSearchParams(location.search).get("store");
  if (!store) return null;
  const url = new URL(store, location.href);
  return { url: url.href.replace(/[?#].*$/, ""), name: url.pathname.replace(/\/+$/, "").split("/").pop() || url.host };
}

async function start(root: HTMLElement): Promise<void> {
  try {
    const found = await where();
    if (found) await Viewer.mount(root, { source: new HttpObjects(found.url), address: true, ...found });
    else root.textContent = "Name a store in the address of this page: ?store=https://… or, of one beside it, ?store=npc.zarr";
  } catch (error) {
    root.textContent = (error as Error).message;
  }
}

const root = document.getElementById("npczarr-viewer"); // there is none in a notebook
if (root) void start(root);
export { default } from "./widget.js";
