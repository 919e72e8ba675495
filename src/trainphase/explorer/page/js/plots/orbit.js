/** The orbit diagram of a scalar map: where its states lie on the attractor, over the parameter. */

/**
 * Draw hit counts as ink. The counts of a column are weighed by their square root, so that thin bands show beside dense ones.
 * @param {HTMLCanvasElement} canvas
 * @param {{counts: Uint16Array, columns: number, heights: number}} orbit counts of shape (columns, heights), lowest first
 * @param {[number, number, number]} ink
 */
export function drawOrbit(canvas, orbit, ink) {
  const { counts, columns, heights } = orbit;
  canvas.width = columns;
  canvas.height = heights;
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(columns, heights);
  for (let i = 0; i < columns; i++) {
    let most = 0;
    for (let j = 0; j < heights; j++) most = Math.max(most, counts[i * heights + j]);
    if (most === 0) continue;
    for (let j = 0; j < heights; j++) {
      const count = counts[i * heights + j];
      if (count === 0) continue;
      const at = 4 * ((heights - 1 - j) * columns + i);
      image.data.set(ink, at);
      image.data[at + 3] = Math.round(255 * Math.min(1, 0.25 + 0.75 * Math.sqrt(count / most)));
    }
  }
  context.putImageData(image, 0, 0);
}
