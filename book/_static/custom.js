// Small repairs to the theme for readers who use a keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", async () => {
  // A control whose name leaves out what it shows: let what it shows be its name.
  document.querySelectorAll(".search-button-field, summary").forEach((control) => control.removeAttribute("aria-label"));
  document.querySelectorAll(".citation-list, .citation").forEach((entry) => entry.removeAttribute("role")); // out of date
  await window.MathJax?.startup?.promise;
  // A formula that is a little wider than the page shrinks to fit. A wider one scrolls inside itself, by the arrow keys too.
  const reach = () => document.querySelectorAll('mjx-container[display="true"]').forEach((formula) => {
    const fits = formula.clientWidth / formula.scrollWidth;
    if (fits < 0.7) formula.tabIndex = 0;
    else if (fits < 1) formula.querySelectorAll(":scope > svg").forEach((drawing) => {
      drawing.style.maxWidth = "100%";
      drawing.style.height = "auto";
    });
  });
  reach();
  document.querySelectorAll("details").forEach((folded) => folded.addEventListener("toggle", reach));
});
// Paper is white, whatever the screen is.
let shown = "light";
window.addEventListener("beforeprint", () => {
  shown = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
window.addEventListener("afterprint", () => { document.documentElement.dataset.theme = shown; });
