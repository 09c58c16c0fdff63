// A click on a heading sorts its table; what has no value stays at the end either way.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement;
    const place = heading.cellIndex;
    const body = heading.closest("table").tBodies[0];
    const value = (row) => row.cells[place].dataset.v;
    const falling = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const words = heading.matches(".rule, .status");
    const compare = (a, b) => (words ? a.localeCompare(b) : a - b) * (falling ? -1 : 1);
    const rows = [...body.rows].filter((row) => !row.matches(".note"));
    const notes = new Map(rows.map((row) => [row, row.nextElementSibling]));
    rows.sort((one, two) => {
      const [a, b] = [value(one), value(two)];
      return a === "" || b === "" ? (a === "") - (b === "") : compare(a, b);
    });
    for (const row of rows) {
      body.append(row);
      if (notes.get(row)?.matches(".note")) body.append(notes.get(row));
    }
  });
}
