// Elements of the page. Whatever a store holds gets into it as text, never as markup.

/** What a pane says as long as what it is to show was not read. */
export const LOADING = "loading…";

type Child = Node | string | null | undefined | false;
type Handlers = { [K in keyof HTMLElementEventMap as `on${K}`]?: (event: HTMLElementEventMap[K]) => void };
export type Attributes = Record<`data-${string}` | `aria-${string}`, string | undefined> | Record<string, unknown>;

/** Make an element: attributes by name, listeners as onclick and the like. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes & Handlers = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A button; its title is also its name for those who cannot see it. */
export function button(text: string, title: string, onclick: () => void, attributes: Attributes = {}): HTMLButtonElement {
  return h("button", { type: "button", title, "aria-label": title, onclick, ...attributes }, text);
}

/** A choice from a list. */
export function select<T extends string>(
  label: string,
  options: readonly (readonly [T, string])[],
  onchange: (value: T) => void,
): HTMLSelectElement {
  const element = h("select", { "aria-label": label, title: label });
  element.append(...options.map(([value, text]) => h("option", { value }, text)));
  element.addEventListener("change", () => onchange(element.value as T));
  return element;
}

/** A group of buttons of which one is pressed. */
export function choice<T extends string>(
  label: string,
  options: readonly (readonly [T, string, string])[],
  onpick: (value: T) => void,
): { readonly element: HTMLElement; show(value: T): void } {
  const buttons = options.map(([value, text, title]) => [value, button(text, title, () => onpick(value))] as const);
  return {
    element: h("div", { class: "choice", role: "group", "aria-label": label }, ...buttons.map(([, one]) => one)),
    show: (value) => {
      for (const [name, one] of buttons) one.setAttribute("aria-pressed", String(name === value));
    },
  };
}

/** A number for people: at most `digits` after the point, thousands apart; of one below 1 the first four digits that count. */
export function number(value: number, digits = 2): string {
  if (value !== 0 && Math.abs(value) < 1) return String(Number(value.toPrecision(4)));
  return value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) >= 100 ? Math.min(digits, 1) : digits });
}
