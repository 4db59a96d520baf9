/* Drawing: maps, pictures and matrices on a canvas. One fixed colour scale: cividis, which colour-blind readers can tell
   apart and which reads the same on light and dark pages. */
window.PATCHWORK = window.PATCHWORK || {};
(function (patchwork) {
  "use strict";
  // Nine points of cividis. Source: Nuñez, Anderton and Renslow 2018, as in Matplotlib.
  const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [166, 157, 117],
    [197, 180, 106], [254, 232, 56]];

  function colour(share) {
    const at = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1), low = Math.min(CIVIDIS.length - 2, Math.floor(at));
    return CIVIDIS[low].map((value, i) => Math.round(value + (at - low) * (CIVIDIS[low + 1][i] - value)));
  }

  /* One pixel for each value; CSS makes it large (image-rendering: pixelated). */
  function pixels(canvas, columns, rows, at) {
    if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
    const context = canvas.getContext("2d"), data = context.createImageData(columns, rows);
    for (let i = 0; i < columns * rows; i++) data.data.set([...at(i), 255], 4 * i);
    context.putImageData(data, 0, 0);
  }

  /* values (side·side), NaN where there is no token -> colours from 0 to `largest`. With `bytes` (C, H, W) the picture
     shines through by its lightness, so that a reader sees what lies below each square. */
  function map(canvas, values, side, largest, bytes) {
    const size = bytes ? Math.sqrt(bytes.length / 3) : side, patch = size / side;
    pixels(canvas, size, size, (i) => {
      const value = values[Math.floor(Math.floor(i / size) / patch) * side + Math.floor((i % size) / patch)];
      const light = bytes ? 0.62 + 0.38 * (0.3 * bytes[i] + 0.6 * bytes[size * size + i] + 0.1 * bytes[2 * size * size + i]) / 255 : 1;
      return (Number.isNaN(value) ? [128, 128, 128] : colour(value / largest)).map((part) => part * light);
    });
  }

  /* bytes (C, H, W); `dim` holds a share from 0 to 1 for each patch, or null. */
  function picture(canvas, bytes, size, patch, dim) {
    pixels(canvas, size, size, (i) => {
      const y = Math.floor(i / size), x = i % size, n = Math.floor(y / patch) * (size / patch) + Math.floor(x / patch);
      const light = dim ? dim[n] : 1;
      return [0, 1, 2].map((c) => bytes[c * size * size + i] * light);
    });
  }

  /* A matrix (rows, columns), from its lowest value to its highest, with zero in the middle. */
  function matrix(canvas, values, columns) {
    const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
    pixels(canvas, columns, values.length / columns, (i) => colour(0.5 + values[i] / largest / 2));
    return largest;
  }

  patchwork.paint = { colour, map, picture, matrix };
})(window.PATCHWORK);
