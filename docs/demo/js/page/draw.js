// The picture: a slice in grey, with the mask on it.

const MASK = [255, 138, 0];
const FILL = 0.28;

/** The grey level of each channel that is to be shown white: nearly the brightest of the patient. */
export function whites({ data }) {
  return [0, 1, 2].map((channel) => {
    const counts = new Uint32Array(256);
    let inside = 0;
    for (let i = channel; i < data.length; i += 3)
      if (data[i] > 8) {
        counts[data[i]] += 1;
        inside += 1;
      }
    let [level, above] = [255, 0];
    for (; level > 32 && above < inside * 0.005; level--) above += counts[level];
    return level;
  });
}

/**
 * Draw one channel of a slice.
 *
 * @param {object} volume data (slices x height x width x 3), height, width, whites
 */
export function drawSlice(canvas, { data, height, width, whites: white }, place, channel, mask) {
  const small = new OffscreenCanvas(width, height);
  const picture = new ImageData(width, height);
  const start = place * height * width;
  for (let i = 0; i < height * width; i++) {
    const grey = Math.min(255, (data[(start + i) * 3 + channel] * 255) / white[channel]);
    const tumour = mask?.[start + i];
    for (let c = 0; c < 3; c++)
      picture.data[i * 4 + c] = tumour ? grey * (1 - FILL) + MASK[c] * FILL : grey;
    picture.data[i * 4 + 3] = 255;
  }
  small.getContext("2d").putImageData(picture, 0, 0);
  const scale = Math.max(1, Math.round(768 / width));
  if (canvas.width !== width * scale || canvas.height !== height * scale) {
    canvas.width = width * scale;
    canvas.height = height * scale;
  }
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  if (mask) outline(context, mask.subarray(start, start + height * width), height, width, scale);
}

/** Draw a line along the edges between mask and no mask. */
function outline(context, mask, height, width, scale) {
  const at = (y, x) => (y < 0 || x < 0 || y >= height || x >= width ? 0 : mask[y * width + x]);
  context.beginPath();
  for (let y = 0; y <= height; y++)
    for (let x = 0; x <= width; x++) {
      if (at(y, x) !== at(y - 1, x)) {
        context.moveTo(x * scale, y * scale);
        context.lineTo((x + 1) * scale, y * scale);
      }
      if (at(y, x) !== at(y, x - 1)) {
        context.moveTo(x * scale, y * scale);
        context.lineTo(x * scale, (y + 1) * scale);
      }
    }
  context.lineWidth = Math.max(2, scale * 0.7);
  context.strokeStyle = `rgb(${MASK})`;
  context.stroke();
}

/** Draw how much tumour each slice has, as bars under the slider. */
export function drawProfile(canvas, counts, place) {
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = 28 * devicePixelRatio;
  const context = canvas.getContext("2d");
  if (!counts) return;
  const most = Math.max(1, ...counts);
  const step = canvas.width / counts.length;
  counts.forEach((count, i) => {
    const high = (count / most) * canvas.height;
    context.fillStyle = i === place ? "#d96f00" : "#e8a35c";
    context.fillRect(i * step + 1, canvas.height - high, Math.max(1, step - 2), high);
  });
}

/**
 * Draw the three planes through a place, for browsers without WebGL2.
 *
 * @param {object} volume slices, height, width, data
 * @param {Uint8Array|null} mask
 * @param {number[]} at slice, row, column
 * @param {number} thick distance of the slices, in pixels
 */
export function drawPlanes(canvas, volume, mask, at, thick) {
  const { slices, height, width } = volume;
  const deep = Math.max(1, Math.round(slices * thick));
  const gap = 8;
  canvas.width = width + gap + width + gap + height;
  canvas.height = Math.max(height, deep);
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const up = (line) => Math.max(0, slices - 1 - Math.floor(line / thick));
  const plane = (left, high, wide, index) => {
    const picture = new ImageData(wide, high);
    for (let y = 0; y < high; y++)
      for (let x = 0; x < wide; x++) {
        const i = index(y, x);
        const grey = Math.min(255, (volume.data[i * 3 + 1] * 255) / volume.whites[1]);
        for (let c = 0; c < 3; c++)
          picture.data[(y * wide + x) * 4 + c] = mask?.[i] ? grey * 0.5 + MASK[c] * 0.5 : grey;
        picture.data[(y * wide + x) * 4 + 3] = 255;
      }
    context.putImageData(picture, left, Math.floor((canvas.height - high) / 2));
  };
  const [z, row, column] = at;
  plane(0, height, width, (y, x) => (z * height + y) * width + x);
  plane(width + gap, deep, width, (y, x) => (up(y) * height + row) * width + x);
  plane(2 * (width + gap), deep, height, (y, x) => (up(y) * height + x) * width + column);
}
