document.querySelectorAll("table.sortable").forEach(table => {
  const body = table.tBodies[0], heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
    const last = text => text === "" || text === "nan";
    const compare = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b, undefined, {numeric: true}) : a - b;
    [...body.rows].map(row => [key(row), row]).sort(([a], [b]) =>
      last(a) || last(b) ? last(a) - last(b) : (up ? 1 : -1) * compare(a, b)
    ).forEach(([, row]) => body.append(row));
  }));
});
