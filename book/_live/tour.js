/* Eight steps for a first visit. Each sets the page to something worth seeing and says what to look at. */
(function (patchwork) {
  "use strict";
  const $ = (id) => document.getElementById(id), { change, START } = patchwork.play;
  const plain = { shuffled: false, positions: true, dropped: [], silenced: [], skipped: [], temperature: 1, own: null, alone: false };
  const STEPS = [
    ["see", "A picture is cut into patches", "The model reads 64 squares of 4×4 pixels. The marked one is the query: the patch whose view you see below. Point at another.",
      { ...START }],
    ["answer", "One answer", "The bars are the model's probabilities for ten kinds of shapes. It has never seen this picture: it was held out.", { ...plain }],
    ["look", "Sixteen heads, one patch", "Four layers of four heads. Each square shows how much the marked patch reads from every other. Some heads look near, some far.",
      { ...plain, patch: 27, layer: 0, head: 0 }],
    ["numbers", "A map is a row of numbers", "The query meets every key; the score is their product divided by the root of their width. A softmax turns scores into weights that sum to 1.",
      { ...plain, rows: false }],
    ["change", "Shuffle the patches", "The same patches, in other places. If only their content counted, the answer would stay. Look at the bars.", { ...plain, shuffled: true }],
    ["change", "Shuffle, and remove the positions", "Without positions the model cannot tell this picture from the one before: attention reads a set. Undo the shuffling, and nothing changes.",
      { ...plain, shuffled: true, positions: false }],
    ["matter", "Does it look where it matters?", "Press the button: each patch is hidden in turn. Where the answer falls most is what the model needed. Compare with what it looks at.", { ...plain }],
    ["see", "Now you", "Draw a shape, or bring a picture. A link at the bottom carries what you see to someone else.", { ...plain }],
  ];
  let step = 0, returns = null;

  function show() {
    const [section, title, text, changes] = STEPS[step];
    $("tour-title").textContent = `${step + 1} of ${STEPS.length}: ${title}`;
    $("tour-text").textContent = text;
    $("tour-back").disabled = step === 0;
    $("tour-on").textContent = step === STEPS.length - 1 ? "Done" : "Next";
    change(changes);
    document.querySelectorAll("section").forEach((part) => part.classList.toggle("touring", part.id === section));
    $(section).scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  function leave() {
    $("tour").hidden = true;
    document.querySelectorAll("section").forEach((part) => part.classList.remove("touring"));
    if (returns) returns.focus();
  }

  $("tour-start").addEventListener("click", () => {
    [step, returns] = [0, $("tour-start")];
    $("tour").hidden = false;
    show();
    $("tour-on").focus();
  });
  $("tour-on").addEventListener("click", () => (++step < STEPS.length ? show() : leave()));
  $("tour-back").addEventListener("click", () => { step -= 1; show(); });
  $("tour-leave").addEventListener("click", leave);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !$("tour").hidden) leave(); });
})(window.PATCHWORK);
