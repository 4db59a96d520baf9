/* Small live pieces for the chapters. Each fills the elements that ask for it, `<div data-live="slicer">`, and leaves a
   reader without JavaScript what stands inside. The formulas have the names and the order of `vitlib`, and are exported
   for the tests, which compare them. */
window.PATCHWORK = window.PATCHWORK || {};
(function (patchwork) {
  "use strict";
  const { paint } = patchwork, SVG = "http://www.w3.org/2000/svg";
  const BLUE = "var(--pw-query, #0072b2)", ORANGE = "var(--pw-key, #d55e00)", GREEN = "var(--pw-value, #009e73)";

  // ---- formulas ----------------------------------------------------------------------------------------------------

  /* Chapter 3: positions.sincos_1d for one number -> D numbers. */
  function sincos_1d(position, dim) {
    const angles = Array.from({ length: dim / 2 }, (_, i) => position * 10000 ** -(i / (dim / 2)));
    return [...angles.map(Math.sin), ...angles.map(Math.cos)];
  }

  /* Chapter 3: positions.sincos_2d -> rows·columns codes of D numbers. */
  function sincos_2d(rows, columns, dim) {
    return Array.from({ length: rows * columns }, (_, n) => [...sincos_1d(Math.floor(n / columns), dim / 2), ...sincos_1d(n % columns, dim / 2)]);
  }

  function cosine(a, b) {
    const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  }

  function softmax(scores) {
    const largest = Math.max(...scores), powers = scores.map((score) => Math.exp(score - largest)), sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  }

  /* Chapter 8: optim.learning_rate, for "cosine", "linear" and "constant". */
  function learning_rate(step, total, peak, warmup, shape) {
    if (step < warmup) return peak * (step + 1) / warmup;
    const done = (step - warmup) / Math.max(1, total - warmup);
    return shape === "constant" ? peak : peak * (shape === "linear" ? 1 - done : (1 + Math.cos(Math.PI * done)) / 2);
  }

  /* Chapter 7: the parameters of ViT(config) with a class token and learned positions, part by part. */
  function parameters({ image_size, patch_size, channels, classes, dim: D, depth, mlp_ratio }) {
    const N = (image_size / patch_size) ** 2, M = Math.floor(D * mlp_ratio);
    return { "patch embedding": channels * patch_size ** 2 * D + D, "class token and positions": D + (1 + N) * D,
      "attention": depth * (4 * D * D + 4 * D), "MLP": depth * (2 * D * M + M + D), "norms": depth * 4 * D + 2 * D, "head": D * classes + classes };
  }

  /* Multiplications of one forward pass for one image: matrices, then scores and mixtures. */
  function multiplications({ image_size, patch_size, channels, classes, dim: D, depth, mlp_ratio }) {
    const N = (image_size / patch_size) ** 2, T = 1 + N, M = Math.floor(D * mlp_ratio);
    return { "patch embedding": N * channels * patch_size ** 2 * D, "attention's matrices": depth * T * 4 * D * D,
      "scores and mixtures": depth * 2 * T * T * D, "MLP": depth * T * 2 * D * M, "head": D * classes };
  }

  // ---- pieces ------------------------------------------------------------------------------------------------------

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    made.append(...children);
    return made;
  }

  function drawn(tag, attributes) {
    const made = document.createElementNS(SVG, tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    return made;
  }

  /* A labelled slider over a list of values. */
  function slider(name, values, start, moved) {
    const input = element("input", { type: "range", min: 0, max: values.length - 1, step: 1, value: Math.max(0, values.indexOf(start)) });
    const output = element("output", {});
    const tell = () => {
      output.textContent = values[input.value];
      input.setAttribute("aria-valuetext", values[input.value]);
    };
    input.addEventListener("input", () => { tell(); moved(values[input.value]); });
    tell();
    return element("label", { class: "pw-slider" }, element("span", {}, name, " ", output), input);
  }

  function choice(name, options, start, chosen) {
    const select = element("select", {}, ...options.map((option) => element("option", option === start ? { selected: "" } : {}, option)));
    select.addEventListener("change", () => chosen(select.value));
    return element("label", { class: "pw-slider" }, element("span", {}, name), select);
  }

  function bars(values, unit) {
    const largest = Math.max(...Object.values(values));
    return Object.entries(values).map(([name, value]) => {
      const bar = element("i", {});
      bar.style.setProperty("--share", value / largest);
      return element("li", {}, `${name}: ${unit(value)}`, bar);
    });
  }

  const short = (value) => (value >= 1e9 ? `${(value / 1e9).toPrecision(3)} billion` : value >= 1e6 ? `${(value / 1e6).toPrecision(3)} million` : Math.round(value).toLocaleString("en"));
  const total = (parts) => Object.values(parts).reduce((a, b) => a + b);

  function image(n) {
    const one = 3 * patchwork.images.size ** 2;
    return Uint8Array.from(atob(patchwork.images.pixels), (letter) => letter.charCodeAt(0)).subarray(n * one, (n + 1) * one);
  }

  function range(first, last, step = 1) {
    return Array.from({ length: Math.floor((last - first) / step + 1.000001) }, (_, i) => Number((first + i * step).toFixed(6)));
  }

  // ---- the chapters' widgets ---------------------------------------------------------------------------------------
  const WIDGETS = {
    /* Chapter 2: slice size and order. */
    slicer(place) {
      const bytes = image(1), size = patchwork.images.size, said = element("p", { class: "pw-said", role: "status" });
      const canvas = element("canvas", { role: "img", "aria-label": "The picture, cut" }), flat = element("p", { class: "pw-flat" });
      let P = 8, order = "channel first";

      function draw() {
        const side = size / P, gap = P > 2 ? 1 : 0, wide = side * (P + gap) - gap;
        Object.assign(canvas, { width: wide, height: wide });
        const context = canvas.getContext("2d"), data = context.createImageData(wide, wide);
        for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
          const at = 4 * ((y + Math.floor(y / P) * gap) * wide + x + Math.floor(x / P) * gap);
          data.data.set([0, 1, 2].map((c) => bytes[(c * size + y) * size + x]).concat(255), at);
        }
        context.putImageData(data, 0, 0);
        said.textContent = `P = ${P}: ${side} × ${side} = ${side * side} patches of 3 × ${P} × ${P} = ${3 * P * P} numbers each. Their product is always ${3 * size * size}.`;
        const first = [];
        if (order === "channel first") for (let c = 0; c < 3; c++) for (let i = 0; i < P * P; i++) first.push([c, Math.floor(i / P), i % P]);
        else for (let i = 0; i < P * P; i++) for (let c = 0; c < 3; c++) first.push([c, Math.floor(i / P), i % P]);
        flat.textContent = `Patch 0, flattened ${order}: ` + first.slice(0, 8).map(([c, y, x]) => `${"RGB"[c]}(${y},${x})`).join(" ") + (first.length > 8 ? " …" : "");
      }
      draw();
      return [element("div", { class: "pw-picture" }, canvas), element("div", { class: "pw-answer" },
        slider("Patch size P:", [2, 4, 8, 16, 32], P, (value) => { P = value; draw(); }),
        choice("Order", ["channel first", "channel last"], order, (value) => { order = value; draw(); }), said, flat)];
    },

    /* Chapter 3: how alike are the codes of one place and of all others? */
    positions(place) {
      const canvas = element("canvas", { role: "img", "aria-label": "Similarity of one place's code to all others" }), said = element("p", { class: "pw-said", role: "status" });
      let side = 8, row = 2, column = 5, learned = false;

      function draw() {
        row = Math.min(row, side - 1);
        column = Math.min(column, side - 1);
        let codes = sincos_2d(side, side, 48);
        if (learned) {
          const { shapes, config } = patchwork.weights, D = config.dim, scope = {};
          window.vitlib(scope);
          const model = scope.vit.load(patchwork.weights);
          codes = Array.from({ length: 64 }, (_, n) => Array.from(model.pos_embed.subarray((1 + n) * D, (2 + n) * D)));
        }
        const alike = codes.map((code) => cosine(codes[row * side + column], code));
        const lowest = Math.min(...alike);
        paint.map(canvas, alike.map((value) => (value - lowest) / (1 - lowest)), side, 1);
        const far = alike.indexOf(Math.min(...alike));
        said.textContent = `${learned ? "Learned by shapes-tiny" : "Sines and cosines"}, ${side} × ${side} places. The code of row ${row}, column ${column} is most unlike that of row ${Math.floor(far / side)}, column ${far % side}: cosine ${alike[far].toFixed(2)}.`;
      }
      const move = (event) => {
        const box = canvas.getBoundingClientRect();
        column = Math.max(0, Math.min(side - 1, Math.floor((event.clientX - box.left) / box.width * side)));
        row = Math.max(0, Math.min(side - 1, Math.floor((event.clientY - box.top) / box.height * side)));
        draw();
      };
      canvas.addEventListener("pointermove", move);
      canvas.addEventListener("pointerdown", move);
      draw();
      const grid = slider("Grid, places a side:", [4, 6, 8, 12, 16], side, (value) => { side = value; draw(); });
      return [element("div", { class: "pw-picture" }, canvas), element("div", { class: "pw-answer" }, said,
        choice("Codes", ["sines and cosines", "learned"], "sines and cosines", (value) => {
          learned = value === "learned";
          side = learned ? 8 : side;
          grid.querySelector("input").disabled = learned;
          draw();
        }), grid, slider("Row:", range(0, 15), row, (value) => { row = value; draw(); }), slider("Column:", range(0, 15), column, (value) => { column = value; draw(); }))];
    },

    /* Chapter 4: one query, three keys, and what scale and temperature do. */
    softmax(place) {
      const keys = [[2, 0], [0, 2], [-1.4, -1.4]], values = [10, 20, 30];
      const picture = drawn("svg", { viewBox: "-3.4 -3.4 6.8 6.8", role: "img", "aria-label": "The query and three keys as arrows" });
      const list = element("ul", { class: "pw-bars" }), said = element("p", { class: "pw-said", role: "status" });
      let angle = 20, size = 2, temperature = 1;

      function arrow([x, y], colour, name) {
        const line = drawn("line", { x1: 0, y1: 0, x2: x, y2: -y, "stroke-width": 0.09 });
        line.style.stroke = colour;
        const text = drawn("text", { x: 1.18 * x, y: 0.14 - 1.18 * y, "font-size": 0.42, "text-anchor": "middle" });
        text.style.fill = "currentColor";
        text.textContent = name;
        return [line, text];
      }

      function draw() {
        const query = [size * Math.cos(angle * Math.PI / 180), size * Math.sin(angle * Math.PI / 180)];
        picture.replaceChildren(...keys.flatMap((key, i) => arrow(key, ORANGE, `k${i}`)), ...arrow(query, BLUE, "q"));
        const scores = keys.map((key) => (key[0] * query[0] + key[1] * query[1]) / Math.SQRT2 / temperature), weights = softmax(scores);
        list.replaceChildren(...bars(Object.fromEntries(weights.map((weight, i) => [`key ${i}, score ${scores[i].toFixed(2)}, value ${values[i]}`, weight])), (w) => `weight ${w.toFixed(2)}`));
        list.querySelectorAll("i").forEach((bar, i) => bar.style.setProperty("--share", weights[i]));
        said.textContent = `The query reads ${weights.reduce((sum, weight, i) => sum + weight * values[i], 0).toFixed(1)}, a mean of 10, 20 and 30.`;
      }
      draw();
      return [element("div", { class: "pw-picture" }, picture), element("div", { class: "pw-answer" },
        slider("The query's direction, degrees:", range(0, 355, 5), angle, (value) => { angle = value; draw(); }),
        slider("The query's length:", range(0, 3, 0.25), size, (value) => { size = value; draw(); }),
        slider("Temperature:", [0.1, 0.25, 0.5, 1, 2, 4, 10], temperature, (value) => { temperature = value; draw(); }), list, said)];
    },

    /* Chapter 6: what stands in the residual stream of the class token after each block. */
    async stream(place, ask) {
      const list = element("ul", { class: "pw-bars" }), said = element("p", { class: "pw-said", role: "status" }), canvas = element("canvas", { role: "img", "aria-label": "The picture" });
      const { classes, labels, size } = patchwork.images, { config } = patchwork.weights, scope = {};
      window.vitlib(scope);
      const model = scope.vit.load(patchwork.weights);
      let n = 6;

      async function draw() {
        const bytes = image(n), { embedded, layers } = await ask("forward", { image: Float32Array.from(bytes, (v) => (v / 255 - 0.5) / 0.25), options: {} });
        paint.picture(canvas, bytes, size, config.patch_size, null);
        const stages = [["after the embedding", embedded], ...layers.map(({ x }, l) => [`after block ${l + 1}`, x])];
        const answers = stages.map(([name, x]) => {
          const token = x.slice(0, config.dim), read = scope.vit.layer_norm(token, model.norm, config.norm_eps);
          const shares = softmax([...scope.vit.linear(read, 1, model.head.weight, model.head.bias)]);
          const spread = Math.sqrt(token.reduce((sum, value) => sum + value ** 2, 0) / config.dim);
          return { name, spread, share: shares[labels[n]], best: classes[shares.indexOf(Math.max(...shares))] };
        });
        list.replaceChildren(...bars(Object.fromEntries(answers.map(({ name, spread, share, best }) => [`${name}: size ${spread.toFixed(2)}, the head would say ${best}; ${classes[labels[n]]}`, share])), (share) => `${(100 * share).toFixed(0)} %`));
        list.querySelectorAll("i").forEach((bar, i) => bar.style.setProperty("--share", answers[i].share));
        said.textContent = `A ${classes[labels[n]]}: the head reads the class token after every block, though it was trained on the last one alone.`;
      }
      await draw();
      return [element("div", { class: "pw-picture" }, canvas), element("div", { class: "pw-answer" }, said, list, slider("Picture:", range(1, labels.length), n + 1, (value) => { n = value - 1; draw(); }))];
    },

    /* Chapter 7: parameters and multiplications of a configuration. */
    calculator(place) {
      const config = { image_size: 224, patch_size: 16, channels: 3, classes: 1000, dim: 768, depth: 12, mlp_ratio: 4 };
      const counts = element("ul", { class: "pw-bars" }), work = element("ul", { class: "pw-bars" }), said = element("p", { class: "pw-said", role: "status" });
      function draw() {
        const mine = parameters(config), steps = multiplications(config);
        counts.replaceChildren(...bars(mine, short));
        work.replaceChildren(...bars(steps, short));
        said.textContent = `${total(mine).toLocaleString("en")} parameters, ${short(total(steps))} multiplications an image, ${(config.image_size / config.patch_size) ** 2} patches.`;
      }
      draw();
      const set = (name, label, values) => slider(label, values, config[name], (value) => { config[name] = value; draw(); });
      return [element("div", { class: "pw-answer" }, set("image_size", "Image size:", [32, 64, 96, 128, 224, 256, 384, 512]), set("patch_size", "Patch size P:", [4, 8, 16, 32]),
        set("dim", "Width D:", [48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]), set("depth", "Blocks L:", range(1, 32)), set("mlp_ratio", "M / D:", [1, 2, 3, 4]), set("classes", "Classes K:", [10, 100, 1000])),
      element("div", { class: "pw-answer" }, said, element("p", {}, "Parameters"), counts, element("p", {}, "Multiplications"), work)];
    },

    /* Chapter 8: the learning rate over a run. */
    schedule(place) {
      const picture = drawn("svg", { viewBox: "0 0 320 150", role: "img", "aria-label": "The learning rate over the steps of a run" }), said = element("p", { class: "pw-said", role: "status" });
      let shape = "linear", warm = 5, peak = 0.003;
      function draw() {
        const steps = 800, warmup = Math.round(steps * warm / 100), rates = range(0, steps - 1).map((step) => learning_rate(step, steps, peak, warmup, shape));
        const line = drawn("polyline", { fill: "none", "stroke-width": 3, points: rates.map((rate, i) => `${10 + 300 * i / steps},${140 - 120 * rate / 0.01}`).join(" ") });
        line.style.stroke = BLUE;
        const ground = drawn("path", { d: "M10 10V140H315", fill: "none", stroke: "currentColor" });
        picture.replaceChildren(ground, line);
        said.textContent = `First step ${rates[0].toExponential(1)}, highest ${Math.max(...rates).toExponential(1)}, last ${rates[steps - 1].toExponential(1)}, mean ${(rates.reduce((a, b) => a + b) / steps).toExponential(1)}.`;
      }
      draw();
      return [element("div", { class: "pw-picture pw-wide" }, picture), element("div", { class: "pw-answer" }, choice("Shape", ["linear", "cosine", "constant"], shape, (value) => { shape = value; draw(); }),
        slider("Warm-up, % of the steps:", range(0, 30), warm, (value) => { warm = value; draw(); }), slider("Peak:", [0.0003, 0.001, 0.002, 0.003, 0.005, 0.01], peak, (value) => { peak = value; draw(); }), said)];
    },
  };

  async function begin() {
    const places = [...document.querySelectorAll("[data-live]")].filter(({ dataset }) => dataset.live in WIDGETS);
    let ask = null;
    for (const place of places) {
      if (place.dataset.live === "stream" && !ask) {
        ask = patchwork.start();
        await ask("load", { weights: patchwork.weights });
      }
      const parts = await WIDGETS[place.dataset.live](place, ask);
      place.classList.add("pw-live");
      place.replaceChildren(...parts);
    }
  }

  patchwork.formulas = { sincos_2d, softmax, learning_rate, parameters, multiplications };
  begin();
})(window.PATCHWORK);
