/* A first glance at a live model, for a page of the book: one picture, its answer, and what one patch reads. It fills
   every element with `data-live="glance"`, whose own content is what a reader without JavaScript sees. */
(function (patchwork) {
  "use strict";
  const { config } = patchwork.weights, { classes, labels } = patchwork.images, { paint } = patchwork;
  const SIZE = config.image_size, P = config.patch_size, SIDE = SIZE / P, N = SIDE * SIDE, one = 3 * SIZE * SIZE;
  const LAYER = 3; // the last but one: its heads are the easiest to read
  const bytes = Uint8Array.from(atob(patchwork.images.pixels), (letter) => letter.charCodeAt(0));

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    made.append(...children);
    return made;
  }

  /* What patch n reads: the mean of the heads of one layer, (N). */
  function reads({ layers, T }, n) {
    const { weights } = layers[LAYER - 1], heads = config.heads;
    return Array.from({ length: N }, (_, m) => Array.from({ length: heads }, (_, h) => weights[(h * T + 1 + n) * T + 1 + m]).reduce((a, b) => a + b) / heads);
  }

  async function glance(place, ask) {
    const canvas = element("canvas", { "aria-hidden": "true" }), board = element("div", { class: "pw-board", role: "group", "aria-label": "Patches of the picture: the one in hand asks" });
    const said = element("p", { class: "pw-said", role: "status" }), bars = element("ul", { class: "pw-bars" }), next = element("button", { type: "button" }, "Another picture");
    let image = 1, patch = 27, seen = null;

    function draw() {
      const row = reads(seen, patch), most = Math.max(...row);
      paint.picture(canvas, bytes.subarray(image * one, (image + 1) * one), SIZE, P, row.map((value) => 0.25 + 0.75 * value / most));
      board.childNodes.forEach((button, n) => {
        button.setAttribute("aria-pressed", n === patch);
        button.tabIndex = n === patch ? 0 : -1;
      });
      const order = [...seen.probabilities.keys()].sort((a, b) => seen.probabilities[b] - seen.probabilities[a]).slice(0, 3);
      said.textContent = `The model says: ${classes[order[0]]}. It is a ${classes[labels[image]]}. Light: what patch ${patch} reads.`;
      bars.replaceChildren(...order.map((k) => {
        const bar = element("i", {});
        bar.style.setProperty("--share", seen.probabilities[k]);
        return element("li", {}, `${classes[k]} ${(100 * seen.probabilities[k]).toFixed(0)} %`, bar);
      }));
    }

    async function look(at) {
      image = at;
      seen = await ask("forward", { image: Float32Array.from(bytes.subarray(at * one, (at + 1) * one), (v) => (v / 255 - 0.5) / 0.25), options: {} });
      draw();
    }

    for (let n = 0; n < N; n++) {
      const button = element("button", { type: "button", "aria-label": `Patch ${n}, row ${Math.floor(n / SIDE)}, column ${n % SIDE}` });
      const choose = () => { patch = n; draw(); };
      button.addEventListener("click", choose);
      button.addEventListener("pointerenter", choose);
      board.append(button);
    }
    board.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -SIDE, ArrowDown: SIDE }[event.key];
      if (!by || patch + by < 0 || patch + by >= N) return;
      event.preventDefault();
      patch += by;
      draw();
      board.childNodes[patch].focus();
    });
    next.addEventListener("click", () => look((image + 1) % labels.length));
    await look(image);
    place.classList.add("pw-live");
    place.replaceChildren(element("div", { class: "pw-picture" }, canvas, board), element("div", { class: "pw-answer" }, said, bars, next));
  }

  async function begin() {
    const places = document.querySelectorAll('[data-live="glance"]');
    if (!places.length) return;
    const ask = patchwork.start();
    await ask("load", { weights: patchwork.weights });
    for (const place of places) await glance(place, ask);
  }
  begin();
})(window.PATCHWORK);
