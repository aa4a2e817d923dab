"use strict";
// The table of cells: a click on a heading sorts by it, numbers as numbers; words in the box leave rows out.
const table = document.getElementById("cells"), body = table.tBodies[0], headings = [...table.tHead.rows[0].cells];
const all = [...body.rows];
function sort(column) {
  const down = headings[column].getAttribute("aria-sort") === "ascending";
  const key = (row) => row.cells[column].dataset.value;
  const both = (a, b) => a !== "" && b !== "" && !isNaN(a) && !isNaN(b);
  all.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // what is not known comes last, both ways
    return (both(x, y) ? x - y : x.localeCompare(y)) * (down ? -1 : 1);
  });
  headings.forEach((h, i) => h.setAttribute("aria-sort", i !== column ? "none" : down ? "descending" : "ascending"));
  body.append(...all);
}
headings.forEach((heading, i) => heading.firstElementChild.addEventListener("click", () => sort(i)));
function filter() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of all) {
    const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  document.getElementById("count").textContent = `${shown} of ${all.length}`;
}
document.getElementById("filter").addEventListener("input", filter);
filter();
// Charts take the page's colours, and change with the reader's preference.
const dark = matchMedia("(prefers-color-scheme: dark)");
function paint() {
  const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: of("--line"), zerolinecolor: of("--line"), linecolor: of("--faint") };
  for (const chart of document.querySelectorAll(".plotly-graph-div")) {
    const update = { "font.color": of("--ink") };
    for (const name of ["xaxis", "yaxis"]) for (const [key, colour] of Object.entries(axis)) update[`${name}.${key}`] = colour;
    Plotly.relayout(chart, update);
  }
}
dark.addEventListener("change", paint);
paint();
