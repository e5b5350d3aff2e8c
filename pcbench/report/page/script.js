"use strict";
// Reading needs none of this: it sorts, filters, and opens the case that a link names.
(() => {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const form = document.getElementById("filters");
  const text = document.getElementById("text");
  const suite = document.getElementById("suite");
  const shown = document.getElementById("shown");

  function filter() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set([...form.elements.status?.length ? form.elements.status : [form.elements.status]]
      .filter((box) => box && box.checked).map((box) => box.value));
    let count = 0;
    rows.forEach((row, index) => {
      const fits = wanted.has(row.dataset.status)
        && (!suite || !suite.value || row.dataset.suite === suite.value)
        && words.every((word) => texts[index].includes(word));
      row.hidden = !fits;
      count += fits;
    });
    shown.textContent = `${count} of ${rows.length} cases`;
  }

  function value(row, column) {
    const cell = row.cells[column];
    const number = Number.parseFloat(cell.dataset.value ?? cell.textContent);
    return cell.classList.contains("number") ? (Number.isNaN(number) ? -Infinity : number)
      : cell.textContent.trim();
  }

  function sort(head, column) {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const keyed = rows.map((row) => [value(row, column), row]);
    keyed.sort(([a], [b]) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", {numeric: true})));
    if (!up) keyed.reverse();
    body.append(...keyed.map(([, row]) => row));
  }

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(head, column));
    head.replaceChildren(button);
  });

  function follow() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
    }
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", follow);
  window.addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });
  form.hidden = false;
  filter();
  follow();
})();
