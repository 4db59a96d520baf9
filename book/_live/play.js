/* The page: what is shown depends on `state` alone, and a link carries the state. `change` is the only way to alter it. */
(function (patchwork) {
  "use strict";
  const $ = (id) => document.getElementById(id), { paint } = patchwork;
  const { config } = patchwork.weights, classes = patchwork.images.classes;
  const SIZE = config.image_size, P = config.patch_size, SIDE = SIZE / P, N = SIDE * SIDE, L = config.depth, HEADS = config.heads;
  const VIEW = ["patch", "layer", "head", "alone", "rows", "stage"]; // what is looked at: the tensors stay the same
  const FIXED = 0.25; // the top of the fixed colour scale; a share of 1 / 65 would be an even mixture
  const ALL = Array.from({ length: N }, (_, n) => n);
  const START = { image: 1, own: null, patch: 27, layer: 2, head: 0, alone: false, shuffled: false, positions: true, dropped: [],
    silenced: [], skipped: [], temperature: 1, rows: false, stage: 0, epoch: patchwork.weights.epochs };
  const EPOCHS = [...patchwork.weights.snapshots, patchwork.weights.epochs];
  const ORDER = shuffled(ALL);
  const bytes = decode(patchwork.images.pixels), count = patchwork.images.labels.length, one = 3 * SIZE * SIZE;
  const state = { ...START, ...read_link() };
  let ask = null, loaded = START.epoch, before = null, after = null, drawing = false, cursor = 16 * SIZE + 16, asked = 0, occluded = null, linking = 0;

  function decode(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }

  /* The same order at every visit: a small generator with a fixed seed (Park and Miller 1988). */
  function shuffled(list) {
    const order = list.slice();
    for (let i = order.length - 1, seed = 7; i > 0; i--) {
      seed = (seed * 48271) % 2147483647;
      const j = seed % (i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  // ---- the link ----------------------------------------------------------------------------------------------------
  function write_link() {
    const different = Object.entries(state).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(START[key]));
    const entries = different.map(([key, value]) => [key, key === "own" ? btoa(String.fromCharCode(...value)) : JSON.stringify(value)]);
    return entries.length ? `#${new URLSearchParams(entries)}` : "";
  }

  /* Only known names with values of the right kind and range; the rest of a link is left alone. */
  function read_link() {
    const found = {}, whole = (value, end) => Number.isInteger(value) && value >= 0 && value < end;
    const legal = { image: (v) => whole(v, count), patch: (v) => v === -1 || whole(v, N), layer: (v) => whole(v, L),
      head: (v) => whole(v, HEADS), epoch: (v) => EPOCHS.includes(v), stage: (v) => whole(v, 5 + 2 * L), temperature: (v) => v >= 0.125 && v <= 8,
      dropped: (v) => list(v, (n) => whole(n, N)) && v.length < N, skipped: (v) => list(v, (n) => whole(n, L)),
      silenced: (v) => list(v, (pair) => Array.isArray(pair) && whole(pair[0], L) && whole(pair[1], HEADS)) };
    const list = (value, fits) => Array.isArray(value) && value.every(fits);
    for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
      try {
        const value = key === "own" ? decode(text) : JSON.parse(text);
        const fits = key === "own" ? value.length === one : legal[key] ? legal[key](value) : typeof value === typeof START[key];
        if (key in START && fits) found[key] = value;
      } catch (error) {
        $("status").textContent = `A part of this link could not be read and is left out: ${key}.`;
      }
    }
    return found;
  }

  // ---- from state to tensors ---------------------------------------------------------------------------------------
  function current_bytes() {
    return state.own || bytes.subarray(state.image * one, (state.image + 1) * one);
  }

  function normalised() {
    return Float32Array.from(current_bytes(), (value) => (value / 255 - 0.5) / 0.25);
  }

  function options() {
    const keep = state.dropped.length ? ALL.filter((n) => !state.dropped.includes(n)) : null;
    return { keep, order: state.shuffled ? ORDER : null, positions: state.positions, temperature: state.temperature,
      silenced: state.silenced, skipped: state.skipped };
  }

  /* Where patch n stands in the sequence, or -1 if the model does not see it; the class token (-1) stands at 0. */
  function place(n) {
    return n < 0 ? 0 : state.dropped.includes(n) ? -1 : 1 + n - state.dropped.filter((m) => m < n).length;
  }

  /* The row of the query in hand: its weight on each patch (N), and on the class token. */
  function row(layer, head) {
    const { weights } = after.layers[layer], { T } = after, query = place(state.patch);
    const at = (head * T + query) * T;
    return { patches: ALL.map((n) => (place(n) < 0 || query < 0 ? NaN : weights[at + place(n)])), class_token: query < 0 ? NaN : weights[at] };
  }

  async function change(changes, said) {
    Object.assign(state, changes);
    clearTimeout(linking); // browsers stop a page that rewrites its address too often
    linking = setTimeout(() => history.replaceState(null, "", write_link() || location.pathname), 250);
    const keys = Object.keys(changes), same = keys.length && keys.every((key) => VIEW.includes(key));
    if (after && same) return draw();
    occluded = null;
    const mine = ++asked, image = normalised();
    try {
      if (loaded !== state.epoch) {
        const weights = await weights_after(state.epoch);
        if (mine !== asked) return; // a newer change is under way
        loaded = state.epoch;
        await ask("load", { weights });
      }
      const plain = await ask("forward", { image, options: {} });
      const now = await ask("forward", { image, options: options() });
      if (mine !== asked) return;
      [before, after] = [plain, now];
    } catch (error) {
      $("status").textContent = `That did not work: ${error.message}.`;
      return;
    }
    draw();
    if (said) $("status").textContent = said;
  }

  /* The weights after some epochs: a script of their own, asked for when they are first wanted. */
  function weights_after(epoch) {
    if (epoch === START.epoch) return patchwork.weights;
    const name = `weights_${epoch}`;
    if (patchwork[name]) return patchwork[name];
    return new Promise((resolve, reject) => {
      const script = Object.assign(document.createElement("script"), { src: `weights-${epoch}.js` });
      script.onload = () => resolve(patchwork[name]);
      script.onerror = () => reject(new Error(`weights-${epoch}.js is missing`));
      document.head.append(script);
    });
  }

  // ---- from tensors to the page ------------------------------------------------------------------------------------
  function draw() {
    draw_picture();
    draw_answer();
    draw_maps();
    draw_numbers();
    draw_controls();
    draw_matter();
    draw_stage();
  }

  function shown_bytes() {
    if (!state.shuffled) return current_bytes();
    const from = current_bytes(), to = new Uint8Array(one);
    for (let i = 0; i < one; i++) {
      const c = Math.floor(i / (SIZE * SIZE)), y = Math.floor(i / SIZE) % SIZE, x = i % SIZE;
      const patch = ORDER[Math.floor(y / P) * SIDE + Math.floor(x / P)];
      to[i] = from[(c * SIZE + Math.floor(patch / SIDE) * P + y % P) * SIZE + (patch % SIDE) * P + x % P];
    }
    return to;
  }

  function draw_picture() {
    paint.picture($("picture"), shown_bytes(), SIZE, P, ALL.map((n) => (state.dropped.includes(n) ? 0.12 : 1)));
    document.querySelectorAll("#patches button").forEach((button, n) => {
      const mine = n === state.patch;
      button.classList.toggle("asks", mine);
      button.classList.toggle("dropped", state.dropped.includes(n));
      button.tabIndex = mine || (state.patch < 0 && n === 0) ? 0 : -1;
      button.setAttribute("aria-selected", mine);
    });
    $("where").textContent = drawing ? "" : state.patch < 0 ? "The class token asks: it has no place in the picture."
      : `Query: patch ${state.patch}, row ${Math.floor(state.patch / SIDE)}, column ${state.patch % SIDE}.`;
    document.querySelectorAll("#choices button").forEach((button, i) => button.setAttribute("aria-pressed", !state.own && i === state.image));
  }

  const percent = (share) => `${(100 * share).toFixed(share > 0.995 || share < 0.0995 ? 1 : 0)} %`;

  function draw_answer() {
    const best = after.probabilities.indexOf(Math.max(...after.probabilities)), was = before.probabilities.indexOf(Math.max(...before.probabilities));
    const truth = state.own ? "" : ` It is a ${classes[patchwork.images.labels[state.image]]}.`;
    $("says").textContent = `${classes[best]}, ${percent(after.probabilities[best])}` + (changed()
      ? `; before the change: ${classes[was]}, ${percent(before.probabilities[was])}.` : ".") + truth;
    classes.forEach((name, k) => {
      const line = $("bars").children[k];
      line.querySelector(".now").style.setProperty("--share", after.probabilities[k]);
      line.querySelector(".was").style.setProperty("--share", before.probabilities[k]);
      line.querySelector(".value").textContent = percent(after.probabilities[k]);
      line.classList.toggle("best", k === best);
    });
    $("bars").setAttribute("aria-label", `Probabilities: ${classes.map((name, k) => `${name} ${percent(after.probabilities[k])}`).join(", ")}`);
    $("bars").classList.toggle("changed", changed());
    $("bars-note").textContent = changed() ? "Pale: before the change." : "";
  }

  function changed() {
    const { keep, order, positions, temperature, silenced, skipped } = options();
    return Boolean(keep || order || !positions || temperature !== 1 || silenced.length || skipped.length);
  }

  function draw_maps() {
    const below = shown_bytes();
    const rows = Array.from({ length: L }, (_, l) => Array.from({ length: HEADS }, (_, head) => row(l, head)));
    document.querySelectorAll("#maps button").forEach((button, i) => {
      const l = Math.floor(i / HEADS), head = i % HEADS, { patches } = rows[l][head];
      const most = Math.max(...patches.filter((value) => !Number.isNaN(value)), 0);
      paint.map(button.querySelector("canvas"), patches, SIDE, state.alone ? most || 1 : FIXED, below);
      const gone = after.layers[l].left_out || state.silenced.some(([a, b]) => a === l && b === head);
      button.classList.toggle("gone", gone);
      button.setAttribute("aria-pressed", l === state.layer && head === state.head);
      button.setAttribute("aria-label", `Layer ${l + 1}, head ${head + 1}: looks most at patch ${patches.indexOf(most)}, weight ${most.toFixed(2)}`
        + (gone ? "; left out" : ""));
      button.querySelector("span").textContent = state.alone ? `to ${most.toFixed(2)}` : "";
    });
    $("scale-high").textContent = state.alone ? "its largest" : `${FIXED} or more`;
    $("look-said").textContent = state.patch < 0 ? "The class token asks; each square is one head, and a light place is read much."
      : place(state.patch) < 0 ? "The patch in hand is dropped, so it asks nothing. Choose another."
        : "The marked patch asks; each square is one head, and a light place is read much. Rows are layers, the first on top.";
    $("own-note").textContent = state.alone ? "Each map now runs from 0 to its own largest weight. That hides which heads look at one place and which at "
      + "everything: an even mixture looks as lively as a sharp choice." : "";
  }

  function draw_numbers() {
    const { layer, head, patch } = state, { qkv, scores } = after.layers[layer], { T } = after, D = config.dim, d = D / HEADS;
    const query = place(patch), name = (n) => (n < 0 ? "class token" : `patch ${n}`);
    const body = $("table").tBodies[0];
    body.replaceChildren();
    $("numbers-said").textContent = query < 0 ? "" : `Layer ${layer + 1}, head ${head + 1}. The query of ${patch < 0 ? "the class token" : name(patch)} is ${d} numbers: `
      + Array.from(qkv.subarray(query * 3 * D + head * d, query * 3 * D + (head + 1) * d), (v) => v.toFixed(1)).join(", ") + ".";
    if (query < 0) return;
    const { patches, class_token } = row(layer, head);
    const all = [[-1, class_token], ...patches.map((weight, n) => [n, weight])].filter(([, weight]) => !Number.isNaN(weight));
    all.sort((a, b) => b[1] - a[1]);
    for (const [n, weight] of state.rows ? all : all.slice(0, 8)) {
      const key = place(n) * 3 * D + D + head * d, line = body.insertRow();
      const cells = [name(n), Array.from(qkv.subarray(key, key + 3), (v) => v.toFixed(1)).join(", ") + ", …",
        scores[(head * T + query) * T + place(n)].toFixed(2), weight.toFixed(3)];
      cells.forEach((text, i) => {
        const cell = document.createElement(i ? "td" : "th");
        if (!i) cell.scope = "row";
        cell.textContent = text;
        line.append(cell);
      });
    }
    $("table").caption.textContent = `${state.rows ? "All" : "The eight"} tokens ${state.rows ? "" : "most read "}by this query: softmax of the scores gives the weights.`;
  }

  function draw_controls() {
    const { layer, head } = state, off = state.silenced.some(([a, b]) => a === layer && b === head);
    const pressed = { shuffle: state.shuffled, positions: !state.positions, drop: state.dropped.includes(state.patch), silence: off,
      skip: state.skipped.includes(layer) };
    Object.entries(pressed).forEach(([id, value]) => $(id).setAttribute("aria-pressed", value));
    $("silence").textContent = `Silence layer ${layer + 1}, head ${head + 1}`;
    $("skip").textContent = `Skip layer ${layer + 1}`;
    $("drop").textContent = state.patch < 0 ? "Drop a patch: choose one first" : `Drop patch ${state.patch}`;
    $("drop").disabled = state.patch < 0 || (state.dropped.length >= N - 1 && !pressed.drop);
    $("temperature").value = Math.log2(state.temperature);
    $("temperature-said").textContent = state.temperature.toPrecision(3).replace(/\.?0+$/, "");
    $("training").hidden = EPOCHS.length < 2;
    Object.assign($("epoch"), { max: EPOCHS.length - 1, value: EPOCHS.indexOf(state.epoch) });
    $("epoch-said").textContent = state.epoch === 0 ? "not begun" : state.epoch === START.epoch ? `finished, ${state.epoch} epochs` : `after ${state.epoch} of ${START.epoch} epochs`;
    $("epoch").setAttribute("aria-valuetext", $("epoch-said").textContent);
    $("own").checked = state.alone;
    $("class-token").checked = state.patch < 0;
    $("all-rows").checked = state.rows;
    $("reset").disabled = !changed() && state.epoch === START.epoch;
  }

  /* What the class token reads in the last layer: the mean of the heads. */
  function reads() {
    const { weights } = after.layers[L - 1], { T } = after;
    return ALL.map((n) => (place(n) < 0 ? NaN
      : Array.from({ length: HEADS }, (_, head) => weights[head * T * T + place(n)]).reduce((a, b) => a + b) / HEADS));
  }

  function ranks(values) {
    const order = values.map((value, i) => [value, i]).sort((a, b) => a[0] - b[0]), found = new Array(values.length);
    for (let i = 0; i < order.length;) {
      let end = i;
      while (end < order.length && order[end][0] === order[i][0]) end++;
      for (let j = i; j < end; j++) found[order[j][1]] = (i + end - 1) / 2; // ties share their mean rank
      i = end;
    }
    return found;
  }

  /* Spearman 1904: the correlation of the ranks. */
  function rank_correlation(a, b) {
    const [x, y] = [ranks(a), ranks(b)], middle = (x.length - 1) / 2;
    const sum = (f) => x.reduce((total, _, i) => total + f(x[i] - middle, y[i] - middle), 0);
    return sum((u, v) => u * v) / Math.sqrt(sum((u) => u * u) * sum((_, v) => v * v));
  }

  function draw_matter() {
    const read = reads();
    paint.map($("reads"), read, SIDE, Math.max(...read.filter((v) => !Number.isNaN(v))), shown_bytes());
    if (occluded) {
      paint.map($("falls"), occluded.map((v) => Math.max(0, v)), SIDE, Math.max(...occluded, 1e-6), shown_bytes());
      const r = rank_correlation(read, occluded);
      $("agree").textContent = `Their rank correlation is ${r.toFixed(2)}: ${r > 0.7 ? "they agree" : r > 0.3 ? "they agree in part" : "they hardly agree"} on this picture.`;
    } else {
      paint.map($("falls"), ALL.map(() => NaN), SIDE, 1);
      $("agree").textContent = state.dropped.length ? "Undo the dropped patches first." : "";
    }
    $("occlude").disabled = state.dropped.length > 0;
  }

  // Stage by stage, as in chapter 7's picture of the data flow: name, shape, tensor, columns, sentence.
  function stages() {
    const { T, embedded, layers, logits } = after, D = config.dim, shape = `(1 + ${T - 1}, ${D})`;
    const found = [["image", `(${config.channels}, ${SIZE}, ${SIZE})`, null, 0, "Pixels, before anything."],
      ["tokens with class token and positions", shape, embedded, D, "Each row is a token, the first one the class token; each column one of its numbers."]];
    layers.forEach(({ between, x, left_out }, l) => {
      found.push([`after the attention of block ${l + 1}`, shape, between, D, "Each token has added what it read from the others."],
        [`after the MLP of block ${l + 1}`, shape, x, D, left_out ? "This block is skipped: nothing was added." : "Each token has been worked on by itself."]);
    });
    found.push(["class token, alone", `(${D})`, layers[L - 1].x.subarray(0, D), D, "Only this row is read in the end."],
      ["logits", `(${logits.length})`, logits, logits.length, "One number for each class; their softmax is the answer above."]);
    return found;
  }

  function draw_stage() {
    const all = stages(), [name, shape, tensor, columns, said] = all[Math.min(state.stage, all.length - 1)], canvas = $("tensor");
    canvas.classList.toggle("flat", Boolean(tensor) && tensor.length === columns);
    if (tensor) {
      const largest = paint.matrix(canvas, tensor, columns);
      $("stage-said").textContent = `${said} Colours run from −${largest.toFixed(1)} (dark) to ${largest.toFixed(1)} (light).`;
    } else {
      paint.picture(canvas, shown_bytes(), SIZE, P, null);
      $("stage-said").textContent = said;
    }
    $("stage").textContent = `${state.stage + 1} of ${all.length}: ${name}, ${shape}`;
    $("back").disabled = state.stage === 0;
    $("on").disabled = state.stage >= all.length - 1;
  }

  // ---- what a reader does ------------------------------------------------------------------------------------------
  function toggled(list, item) {
    const same = (other) => JSON.stringify(other) === JSON.stringify(item);
    return list.some(same) ? list.filter((other) => !same(other)) : [...list, item];
  }

  function build() {
    for (const n of ALL) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", tabIndex: -1 });
      button.setAttribute("role", "gridcell");
      button.setAttribute("aria-label", `Patch ${n}, row ${Math.floor(n / SIDE)}, column ${n % SIDE}`);
      button.addEventListener("click", () => drawing || change({ patch: n }));
      button.addEventListener("pointerenter", (event) => drawing || event.pointerType !== "mouse" || change({ patch: n }));
      if (n % SIDE === 0) {
        const line = document.createElement("div");
        line.setAttribute("role", "row");
        $("patches").append(line);
      }
      $("patches").lastElementChild.append(button);
    }
    $("patches").addEventListener("keydown", move);
    for (let i = 0; i < count; i++) {
      const button = document.createElement("button"), canvas = document.createElement("canvas");
      button.type = "button";
      button.setAttribute("aria-label", `Picture ${i + 1}: ${classes[patchwork.images.labels[i]]}`);
      paint.picture(canvas, bytes.subarray(i * one, (i + 1) * one), SIZE, P, null);
      button.append(canvas);
      button.addEventListener("click", () => { stop_drawing(); change({ image: i, own: null }); });
      $("choices").append(button);
    }
    classes.forEach((name) => {
      const line = document.createElement("div");
      for (const part of ["name", "track", "value"]) line.append(Object.assign(document.createElement("span"), { className: part }));
      line.children[0].textContent = name;
      for (const part of ["was", "now"]) line.children[1].append(Object.assign(document.createElement("i"), { className: part }));
      $("bars").append(line);
    });
    for (let i = 0; i < L * HEADS; i++) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(document.createElement("canvas"), document.createElement("span"));
      button.setAttribute("aria-label", `Layer ${Math.floor(i / HEADS) + 1}, head ${i % HEADS + 1}`);
      button.addEventListener("click", () => change({ layer: Math.floor(i / HEADS), head: i % HEADS }));
      $("maps").append(button);
    }
    const head = $("table").tHead.insertRow();
    for (const text of ["token", "key", "score", "weight"]) {
      head.append(Object.assign(document.createElement("th"), { textContent: text, scope: "col" }));
    }
    paint.matrix($("ramp"), Float32Array.from({ length: 64 }, (_, i) => (i - 31.5) / 31.5), 64);
    connect();
  }

  function move(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key], wide = event.key === "ArrowUp" || event.key === "ArrowDown";
    if (drawing && (by || event.key === " ")) {
      event.preventDefault();
      if (by) cursor = (cursor + by * (wide ? SIZE : 1) + SIZE * SIZE) % (SIZE * SIZE);
      else dab(cursor % SIZE, Math.floor(cursor / SIZE));
      $("where").textContent = `Brush at row ${Math.floor(cursor / SIZE)}, column ${cursor % SIZE}.`;
      return;
    }
    if (!by) return;
    event.preventDefault();
    const from = Math.max(0, state.patch), y = Math.floor(from / SIDE) + (wide ? by : 0), x = (from % SIDE) + (wide ? 0 : by);
    if (x < 0 || y < 0 || x >= SIDE || y >= SIDE) return;
    change({ patch: y * SIDE + x });
    document.querySelectorAll("#patches button")[y * SIDE + x].focus();
  }

  function connect() {
    const press = (id, changes) => $(id).addEventListener("click", () => change(changes()));
    press("shuffle", () => ({ shuffled: !state.shuffled }));
    press("positions", () => ({ positions: !state.positions }));
    press("drop", () => ({ dropped: toggled(state.dropped, state.patch) }));
    press("silence", () => ({ silenced: toggled(state.silenced, [state.layer, state.head]) }));
    press("skip", () => ({ skipped: toggled(state.skipped, state.layer) }));
    press("reset", () => ({ shuffled: false, positions: true, dropped: [], silenced: [], skipped: [], temperature: 1, epoch: START.epoch }));
    press("back", () => ({ stage: Math.max(0, state.stage - 1) }));
    press("on", () => ({ stage: Math.min(stages().length - 1, state.stage + 1) }));
    $("temperature").addEventListener("input", () => change({ temperature: 2 ** Number($("temperature").value) }));
    $("epoch").addEventListener("input", () => change({ epoch: EPOCHS[$("epoch").value] }));
    $("own").addEventListener("change", () => change({ alone: $("own").checked }));
    $("class-token").addEventListener("change", () => change({ patch: $("class-token").checked ? -1 : START.patch }));
    $("all-rows").addEventListener("change", () => change({ rows: $("all-rows").checked }));
    $("draw").addEventListener("click", () => (drawing ? stop_drawing() : start_drawing()));
    $("clear").addEventListener("click", () => change({ own: new Uint8Array(one).fill(60) }));
    $("file").addEventListener("change", () => $("file").files[0] && take($("file").files[0]));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
    $("occlude").addEventListener("click", async () => {
      $("agree").textContent = "Hiding 64 patches, one after another…";
      const label = after.probabilities.indexOf(Math.max(...after.probabilities)), mine = asked;
      const { fall } = await ask("occlude", { image: normalised(), label, options: options() });
      if (mine !== asked) return;
      occluded = fall;
      draw_matter();
    });
    $("share").addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(location.href.split("#")[0] + write_link());
        $("shared").textContent = "Copied.";
      } catch (error) {
        $("shared").textContent = "This browser does not let a page copy; take the link from the address bar.";
      }
    });
    window.addEventListener("hashchange", () => change({ ...START, ...read_link() }));
    const board = $("patches");
    const dab_at = (event) => {
      const { left, top, width } = board.getBoundingClientRect();
      dab(Math.floor((event.clientX - left) / width * SIZE), Math.floor((event.clientY - top) / width * SIZE));
    };
    board.addEventListener("pointerdown", (event) => { if (drawing) { board.setPointerCapture(event.pointerId); dab_at(event); } });
    board.addEventListener("pointermove", (event) => { if (drawing && event.buttons) dab_at(event); });
  }

  function start_drawing() {
    drawing = true;
    $("draw").textContent = "Stop drawing";
    change({ own: new Uint8Array(one).fill(60) });
    set_drawing();
  }

  function stop_drawing() {
    drawing = false;
    $("draw").textContent = "Draw";
    set_drawing();
  }

  function set_drawing() {
    $("draw").setAttribute("aria-pressed", drawing);
    $("clear").hidden = $("draw-help").hidden = !drawing;
    $("patches").classList.toggle("drawing", drawing);
  }

  /* A round dab of paint, four pixels wide. */
  function dab(x, y) {
    const own = Uint8Array.from(current_bytes());
    for (let dy = -2; dy <= 2; dy++) for (let dx = -2; dx <= 2; dx++) {
      if (dx * dx + dy * dy > 5 || x + dx < 0 || y + dy < 0 || x + dx >= SIZE || y + dy >= SIZE) continue;
      [235, 200, 90].forEach((value, c) => { own[(c * SIZE + y + dy) * SIZE + x + dx] = value; });
    }
    change({ own });
  }

  /* A picture from a file: its middle square, shrunk to the model's size. Nothing in it runs: it is drawn, not opened. */
  async function take(file) {
    if (file.size > 40e6) {
      $("status").textContent = `${file.name} has ${(file.size / 1e6).toFixed(0)} MB; take one below 40 MB.`;
      return;
    }
    try {
      const picture = await createImageBitmap(file), side = Math.min(picture.width, picture.height);
      const canvas = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE }), context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.fillStyle = "white"; // where it is transparent
      context.fillRect(0, 0, SIZE, SIZE);
      context.drawImage(picture, (picture.width - side) / 2, (picture.height - side) / 2, side, side, 0, 0, SIZE, SIZE);
      picture.close();
      const { data } = context.getImageData(0, 0, SIZE, SIZE), own = new Uint8Array(one);
      for (let i = 0; i < SIZE * SIZE; i++) for (let c = 0; c < 3; c++) own[c * SIZE * SIZE + i] = data[4 * i + c];
      stop_drawing();
      change({ own }, `${file.name}, shrunk to ${SIZE}×${SIZE} pixels.`);
    } catch (error) {
      $("status").textContent = `${file.name} is no picture that this browser can draw. A JPEG, PNG or WebP would do.`;
    }
    $("file").value = "";
  }

  async function begin() {
    const theme = (() => { try { return localStorage.getItem("theme"); } catch (error) { return null; } })();
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
    const weights = patchwork.weights.shapes.reduce((total, [, shape]) => total + shape.reduce((a, b) => a * b, 1), 0);
    $("count").textContent = weights.toLocaleString("en");
    build();
    try {
      ask = patchwork.start();
      await ask("load", { weights: patchwork.weights });
      await change({}, "The model is ready.");
    } catch (error) {
      $("status").textContent = `The model could not start: ${error.message}.`;
    }
  }

  patchwork.play = { state, change, seen: () => ({ before, after, occluded }), START };
  begin();
})(window.PATCHWORK);
