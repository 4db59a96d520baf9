/* The model in a Web Worker, so that the page stays smooth. The worker is made from the text of `vitlib` (a Blob):
   a page opened from file:// could not fetch a worker's file. */
window.PATCHWORK = window.PATCHWORK || {};
(function (patchwork) {
  "use strict";

  /* Runs inside the worker. */
  function serve(scope) {
    let model = null;
    const answers = {
      load(message) {
        model = scope.vit.load(message.weights);
        return { loaded: true };
      },
      forward(message) {
        const began = performance.now();
        return { ...model.forward(message.image, message.options), milliseconds: performance.now() - began };
      },
      /* How much lower the logit of `label` is without each patch: chapter 13. */
      occlude({ image, label, options }) {
        const N = (model.config.image_size / model.config.patch_size) ** 2, places = Array.from({ length: N }, (_, n) => n);
        const whole = model.forward(image, options).logits[label];
        return { fall: places.map((n) => whole - model.forward(image, { ...options, keep: places.filter((m) => m !== n) }).logits[label]) };
      },
    };
    scope.onmessage = ({ data }) => {
      try {
        scope.postMessage({ id: data.id, answer: answers[data.kind](data) });
      } catch (error) {
        scope.postMessage({ id: data.id, error: String(error && error.message || error) });
      }
    };
  }

  /* A function `ask(kind, message)` that promises the worker's answer. */
  patchwork.start = function () {
    const source = `"use strict"; const scope = self; (${window.vitlib})(scope); (${serve})(scope);`;
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const worker = new Worker(address), waiting = new Map();
    let id = 0;
    worker.onmessage = ({ data }) => {
      const { resolve, reject } = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error) reject(new Error(data.error));
      else resolve(data.answer);
    };
    worker.onerror = (event) => {
      waiting.forEach(({ reject }) => reject(new Error(event.message || "the worker stopped")));
      waiting.clear();
    };
    return (kind, message) => new Promise((resolve, reject) => {
      waiting.set(++id, { resolve, reject });
      worker.postMessage({ ...message, kind, id });
    });
  };
})(window.PATCHWORK);
