document.querySelectorAll("table.sortable").forEach(table => {
  const body = table.tBodies[0], heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
    const last = text => text === "" || text === "nan";
    const number = text => parseFloat(text.replace("−", "-"));
    const compare = (a, b) => number(a) - number(b) || a.localeCompare(b, undefined, {numeric: true});
    [...body.rows].map(row => [key(row), row]).sort(([a], [b]) =>
      last(a) || last(b) ? last(a) - last(b) : (up ? 1 : -1) * compare(a, b)
    ).forEach(([, row]) => body.append(row));
  }));
});
document.querySelectorAll(".sorts button").forEach(button => button.addEventListener("click", () => {
  const sheet = button.parentElement.nextElementSibling, by = button.dataset.by;
  button.parentElement.querySelectorAll("button").forEach(other => other.setAttribute("aria-pressed", other === button));
  const name = (a, b) => a.dataset.patient.localeCompare(b.dataset.patient, undefined, {numeric: true});
  const volume = (a, b) => b.dataset.volume - a.dataset.volume;
  const stage = (a, b) => b.dataset.stage - a.dataset.stage || volume(a, b);
  [...sheet.children].sort({patient: name, volume, stage}[by]).forEach(tile => sheet.append(tile));
}));
const watch = new ResizeObserver(boxes => boxes.forEach(({target}) => {
  const box = target.closest(".scroll"), beside = box.scrollWidth > box.clientWidth + 1, below = box.scrollHeight > box.clientHeight + 1;
  box.dataset.hint = beside && below ? "scrolls sideways and down" : beside ? "scrolls sideways" : below ? "scrolls down" : "";
  let hint = box.nextElementSibling;
  if (!hint?.classList.contains("hint")) {
    hint = document.createElement("p");
    hint.className = "hint screen";
    box.after(hint);
  }
  hint.textContent = box.dataset.hint && `↔ This ${box.querySelector("table") ? "table" : "figure"} ${box.dataset.hint}.`;
}));
document.querySelectorAll(".scroll").forEach(box => { watch.observe(box); if (box.firstElementChild) watch.observe(box.firstElementChild); });
