// Search on the first page, and the copy buttons of a plugin's page. Nothing is
// sent anywhere.
"use strict";

const input = document.getElementById("q");
if (input) {
  const cards = [...document.querySelectorAll("#cards > .card")];
  const buttons = [...document.querySelectorAll(".filters button")];
  const count = document.getElementById("count");
  const none = document.getElementById("none");
  let kind = "";

  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const fits = (!kind || card.dataset.kind === kind) && words.every((w) => card.dataset.text.includes(w));
      card.hidden = !fits;
      if (fits) shown++;
    }
    count.textContent = shown === cards.length ? "" : shown + " of " + cards.length;
    none.hidden = shown > 0;
    history.replaceState(null, "", input.value ? "#" + encodeURIComponent(input.value) : location.pathname);
  };

  for (const button of buttons) {
    button.addEventListener("click", () => {
      kind = button.dataset.kind;
      for (const b of buttons) b.setAttribute("aria-pressed", String(b === button));
      show();
    });
  }
  input.addEventListener("input", show);
  document.addEventListener("keydown", (e) => {
    if (e.key === "/" && document.activeElement !== input) {
      e.preventDefault();
      input.focus();
    }
  });
  if (location.hash) {
    try {
      input.value = decodeURIComponent(location.hash.slice(1));
    } catch {
      input.value = "";
    }
    show();
  }
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
  });
}
