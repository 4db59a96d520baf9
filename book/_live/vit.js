/* The Vision Transformer of chapter 7, in plain JavaScript: the same names, the same order, one image at a time.

   A matrix of R rows and C columns is one Float32Array of R·C numbers, row after row. Shapes stand beside the lines:
   T tokens (class token and N patches), D width, h heads, d = D / h, M hidden width of the MLP, K classes.

   The whole file is one function, so that a page can start it in a Web Worker made from its own text: that works from
   file:// too, where a worker's file could not be fetched. Nothing here knows the page. */
var vitlib = function (scope) {
  "use strict";

  /* y = x Wᵀ + b: x (rows, into), W (out, into) as PyTorch keeps it, b (out) -> (rows, out) */
  function linear(x, rows, W, b) {
    const out = b.length, into = W.length / out, y = new Float32Array(rows * out);
    for (let r = 0; r < rows; r++) {
      for (let o = 0; o < out; o++) {
        let sum = b[o];
        for (let i = 0, at = r * into, w = o * into; i < into; i++) sum += x[at + i] * W[w + i];
        y[r * out + o] = sum;
      }
    }
    return y;
  }

  /* Each row (D) to mean 0 and standard deviation 1, then gain and offset. */
  function layer_norm(x, { weight, bias }, eps) {
    const D = weight.length, y = new Float32Array(x.length);
    for (let at = 0; at < x.length; at += D) {
      let mean = 0, variance = 0;
      for (let i = 0; i < D; i++) mean += x[at + i] / D;
      for (let i = 0; i < D; i++) variance += (x[at + i] - mean) ** 2 / D;
      const scale = 1 / Math.sqrt(variance + eps);
      for (let i = 0; i < D; i++) y[at + i] = (x[at + i] - mean) * scale * weight[i] + bias[i];
    }
    return y;
  }

  /* The error function, to 1.2e-7. Source: Numerical Recipes, section 6.2. */
  function erf(x) {
    const t = 1 / (1 + 0.5 * Math.abs(x));
    const terms = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
      -0.82215223, 0.17087277];
    let sum = 0;
    for (let i = terms.length - 1; i >= 0; i--) sum = sum * t + terms[i];
    const rest = t * Math.exp(-x * x + sum);
    return x >= 0 ? 1 - rest : rest - 1;
  }

  function gelu(x) {
    return x.map((value) => 0.5 * value * (1 + erf(value / Math.SQRT2)));
  }

  /* Each row of `columns` numbers to shares that sum to 1. */
  function softmax(x, columns) {
    const y = new Float32Array(x.length);
    for (let at = 0; at < x.length; at += columns) {
      let largest = -Infinity, sum = 0;
      for (let i = 0; i < columns; i++) largest = Math.max(largest, x[at + i]);
      for (let i = 0; i < columns; i++) sum += y[at + i] = Math.exp(x[at + i] - largest);
      for (let i = 0; i < columns; i++) y[at + i] /= sum;
    }
    return y;
  }

  function add(x, y) {
    return x.map((value, i) => value + y[i]);
  }

  /* Chapter 5. x (T, D) -> the output (T, D), and what is worth looking at on the way, head by head. */
  class Attention {
    constructor(weights, heads) {
      Object.assign(this, { qkv: weights.qkv, proj: weights.proj, heads });
    }

    forward(x, T, { temperature = 1, silenced = [] } = {}) {
      const h = this.heads, D = this.proj.bias.length, d = D / h;
      const qkv = linear(x, T, this.qkv.weight, this.qkv.bias); // (T, 3D): queries, keys, values
      const scores = new Float32Array(h * T * T), mixed = new Float32Array(T * D);
      for (let head = 0; head < h; head++) {
        for (let i = 0; i < T; i++) {
          for (let j = 0; j < T; j++) {
            let dot = 0;
            for (let c = 0, q = i * 3 * D + head * d, k = j * 3 * D + D + head * d; c < d; c++) dot += qkv[q + c] * qkv[k + c];
            scores[(head * T + i) * T + j] = dot / Math.sqrt(d) / temperature;
          }
        }
      }
      const weights = softmax(scores, T); // (h, T, T): each row sums to 1
      for (let head = 0; head < h; head++) {
        if (silenced.includes(head)) continue; // its share of the output stays 0
        for (let i = 0; i < T; i++) {
          for (let j = 0; j < T; j++) {
            const share = weights[(head * T + i) * T + j], v = j * 3 * D + 2 * D + head * d;
            for (let c = 0, at = i * D + head * d; c < d; c++) mixed[at + c] += share * qkv[v + c];
          }
        }
      }
      return { output: linear(mixed, T, this.proj.weight, this.proj.bias), qkv, scores, weights };
    }
  }

  /* Chapter 6: two branches, each added to what came in. */
  class EncoderBlock {
    constructor(weights, config) {
      Object.assign(this, { norm1: weights.norm1, norm2: weights.norm2, mlp: weights.mlp, eps: config.norm_eps });
      this.attn = new Attention(weights.attn, config.heads);
    }

    forward(x, T, options) {
      const { output, ...seen } = this.attn.forward(layer_norm(x, this.norm1, this.eps), T, options);
      const between = add(x, output); // (T, D)
      const hidden = gelu(linear(layer_norm(between, this.norm2, this.eps), T, this.mlp.fc1.weight, this.mlp.fc1.bias)); // (T, M)
      return { x: add(between, linear(hidden, T, this.mlp.fc2.weight, this.mlp.fc2.bias)), between, ...seen };
    }
  }

  /* Chapter 7. `state` holds the weights by the names they have in PyTorch: "blocks.0.attn.qkv.weight". */
  class ViT {
    constructor(config, state) {
      this.config = config;
      const tree = {};
      for (const [name, values] of Object.entries(state)) {
        const parts = name.split("."), last = parts.pop();
        parts.reduce((node, part) => (node[part] = node[part] || {}), tree)[last] = values;
      }
      Object.assign(this, tree);
      this.blocks = Object.values(tree.blocks).map((weights) => new EncoderBlock(weights, config));
    }

    /* image (C, H, W), normalised -> (N, C·P·P), row by row, each patch channel first */
    patchify(image) {
      const { image_size: size, patch_size: P, channels: C } = this.config, side = size / P;
      const patches = new Float32Array(side * side * C * P * P);
      for (let n = 0, at = 0; n < side * side; n++) {
        const top = Math.floor(n / side) * P, left = (n % side) * P;
        for (let c = 0; c < C; c++) for (let y = 0; y < P; y++) for (let x = 0; x < P; x++) {
          patches[at++] = image[(c * size + top + y) * size + left + x];
        }
      }
      return patches;
    }

    /* The sequence (T, D) that enters the first block. `keep` lists the patches that the model may see; `order` says
       which patch stands at each place; `positions: false` leaves the position codes out. */
    embed(image, { keep = null, order = null, positions = true } = {}) {
      const D = this.config.dim, N = (this.config.image_size / this.config.patch_size) ** 2;
      const tokens = linear(this.patchify(image), N, this.patch_embed.proj.weight, this.patch_embed.proj.bias); // (N, D)
      const seen = keep || Array.from({ length: N }, (_, n) => n);
      const x = new Float32Array((1 + seen.length) * D);
      x.set(this.cls_token);
      seen.forEach((n, i) => {
        const patch = order ? order[n] : n;
        x.set(tokens.subarray(patch * D, (patch + 1) * D), (1 + i) * D);
      });
      if (positions) {
        [-1, ...seen].forEach((n, i) => {
          for (let c = 0; c < D; c++) x[i * D + c] += this.pos_embed[(1 + n) * D + c];
        });
      }
      return x;
    }

    /* image (C, H, W), normalised -> logits (K), probabilities (K), and every tensor on the way.

       Options: those of `embed`; `temperature` divides all scores; `silenced` is a list of [layer, head]; `skipped` a
       list of layers that are left out. */
    forward(image, options = {}) {
      const { silenced = [], skipped = [], temperature = 1 } = options, eps = this.config.norm_eps, D = this.config.dim;
      let x = this.embed(image, options);
      const T = x.length / D, layers = [], embedded = x;
      this.blocks.forEach((block, l) => {
        const heads = silenced.filter(([layer]) => layer === l).map(([, head]) => head);
        const step = block.forward(x, T, { temperature, silenced: heads });
        if (!skipped.includes(l)) x = step.x;
        layers.push({ ...step, x, left_out: skipped.includes(l) });
      });
      const read = layer_norm(x, this.norm, eps).subarray(0, D); // token 0, the class token
      const logits = linear(read, 1, this.head.weight, this.head.bias);
      return { logits, probabilities: softmax(logits, logits.length), T, embedded, layers };
    }
  }

  /* base64 of half-precision numbers -> Float32Array. Source: IEEE 754, binary16. */
  function halves(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer), numbers = new Float32Array(bytes.length / 2);
    for (let i = 0; i < numbers.length; i++) {
      const bits = view.getUint16(2 * i, true), sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, rest = bits & 1023;
      numbers[i] = sign * (exponent ? (exponent === 31 ? (rest ? NaN : Infinity) : 2 ** (exponent - 15) * (1 + rest / 1024))
        : 2 ** -14 * (rest / 1024));
    }
    return numbers;
  }

  /* What `book/tools/live.py` writes: {config, shapes: [[name, shape], …], data} -> a model. */
  function load({ config, shapes, data }) {
    const numbers = halves(data), state = {};
    let at = 0;
    for (const [name, shape] of shapes) {
      const count = shape.reduce((a, b) => a * b, 1);
      state[name] = numbers.slice(at, at += count);
    }
    if (at !== numbers.length) throw new Error(`the weights hold ${numbers.length} numbers, and their shapes ${at}`);
    return new ViT(config, state);
  }

  Object.assign(scope, { vit: { ViT, load, linear, layer_norm, gelu, softmax, erf, halves } });
};
if (typeof module !== "undefined") module.exports = vitlib;
