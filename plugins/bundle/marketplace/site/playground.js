// The playground of a plugin's page: hands the sample to the sandbox, and shows
// what comes back. The rows stay in this page.
"use strict";

const form = document.getElementById("playground");
const result = document.getElementById("result");
let worker = null, timer = 0;

const add = (parent, tag, text, className) => {
  const e = parent.appendChild(document.createElement(tag));
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
};

function show(answer) {
  clearTimeout(timer);
  worker.terminate();
  result.replaceChildren();
  if (answer.error) add(result, "p", answer.error, "notice bad");
  if (answer.sees) add(result, "p", answer.sees.length ? "It sees " + answer.sees.join(", ") + " and no other column." : "It sees no column.", "small");
  if (answer.kernels && answer.kernels.length) add(result, "p", "It leaves work to functions of Leat: " + answer.kernels.join(", ") + ". They ran here, too.", "small");
  for (const table of answer.tables || []) {
    const box = add(result, "div", undefined, "scroll");
    const out = add(box, "table");
    add(out, "caption", table.name + ", " + table.rows.length + " rows");
    const head = add(add(out, "thead"), "tr");
    for (const name of table.columns) add(head, "th", name);
    const body = add(out, "tbody");
    for (const row of table.rows) {
      const line = add(body, "tr");
      for (const cell of row) cell === null ? add(line, "td", "null", "null") : add(line, "td", cell);
    }
  }
  for (const e of answer.errors || []) add(result, "p", "Row " + (e.row + 1) + " would be set aside: " + e.message, "notice bad");
  if (answer.said) add(result, "pre", answer.said);
  result.dataset.done = "yes";
}

function start() {
  if (worker) worker.terminate();
  clearTimeout(timer);
  delete result.dataset.done;
  result.replaceChildren();
  add(result, "p", "Running…", "small");
  worker = new Worker(form.dataset.sandbox);
  worker.onmessage = (e) => show(e.data);
  worker.onerror = (e) => show({ error: e.message || "the sandbox cannot be started" });
  timer = setTimeout(() => show({ error: "The plugin took longer than twenty seconds and was stopped." }), 20000);
  const at = (path) => new URL(path, location.href).href;
  worker.postMessage({ module: at(form.dataset.module), kernels: at(form.dataset.kernels), hosts: form.dataset.hosts.split(" "), csv: form.elements.csv.value, config: form.elements.config.value });
}

if (form) {
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    start();
  });
  if (location.hash === "#try") start();
}
