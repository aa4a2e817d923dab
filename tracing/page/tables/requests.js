"use strict";
// The table of requests: a heading sorts by its column, words leave rows out, and only so many rows stand in the page.
const data = JSON.parse(document.getElementById("requests-data").textContent);
const table = document.getElementById("requests"), body = table.tBodies[0], headings = [...table.tHead.rows[0].cells];
const more = document.getElementById("requests-more"), words = document.getElementById("requests-filter");
const PAGE = 20;
let column = data.columns.findIndex((each) => each.name === "latency"), down = true, shown = PAGE, rows = data.rows;
const time = (ms) => ms < 1 ? `${(ms * 1e3).toFixed(1)} µs` : ms < 1e3 ? `${ms.toFixed(2)} ms` : `${(ms / 1e3).toFixed(2)} s`;
const forms = {
  text: (value) => value,
  number: (value) => value.toLocaleString("en"),
  name: (value) => data.names[value],
  seconds: (value) => `${value.toFixed(2)} s`,
  ms: time,
  share: (value) => `${(value * 100).toFixed(1)}%`,
};
const text = (value, place) => value === null ? "" : forms[data.columns[place].form](value);
const key = (row) => data.columns[column].form === "name" ? text(row[column], column) : row[column];

function sorted() {
  const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const named = (row) => row.map((value, i) => ["text", "name"].includes(data.columns[i].form) ? text(value, i) : "");
  const fits = (row) => asked.every((word) => named(row).join(" ").toLowerCase().includes(word));
  rows = (asked.length ? data.rows.filter(fits) : [...data.rows]).sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null);  // what is not known comes last, both ways
    return (typeof x === "string" ? x.localeCompare(y) : x - y) * (down ? -1 : 1);
  });
  headings.forEach((h, i) => h.setAttribute("aria-sort", i !== column ? "none" : down ? "descending" : "ascending"));
  draw();
}

function draw() {
  body.replaceChildren(...rows.slice(0, shown).map((row) => {
    const line = document.createElement("tr");
    row.forEach((value, i) => {
      const cell = line.insertCell();
      cell.textContent = text(value, i);
      cell.className = { text: "text id", name: "text name" }[data.columns[i].form] ?? "";
    });
    return line;
  }));
  document.getElementById("requests-count").textContent = `${Math.min(shown, rows.length)} of ${rows.length} shown`;
  more.hidden = shown >= rows.length;
}

headings.forEach((heading, i) => heading.firstElementChild.addEventListener("click", () => {
  down = column === i ? !down : true;
  column = i;
  sorted();
}));
words.addEventListener("input", () => { shown = PAGE; sorted(); });
more.addEventListener("click", () => { shown *= 5; draw(); });
sorted();
