// Connected pieces, distances and holes, as scipy.ndimage finds them.

/** A mask: 1 where `test(value, index)` holds. A loop: Uint8Array.from takes twenty times as long. */
export function marks(values, test) {
  const result = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) if (test(values[i], i)) result[i] = 1;
  return result;
}

/** The root of a piece in a union-find table, with the path to it shortened. */
function root(parents, piece) {
  while (parents[piece] !== piece) {
    parents[piece] = parents[parents[piece]];
    piece = parents[piece];
  }
  return piece;
}

/** Join two pieces; the smaller number stays, so that numbers keep the order of first pixels. */
function join(parents, one, other) {
  const [a, b] = [root(parents, one), root(parents, other)];
  if (a < b) parents[b] = a;
  else parents[a] = b;
}

/**
 * Number the connected pieces of a volume; pixels touch at a side, an edge or a corner.
 *
 * @param {Uint8Array} mask slices x height x width of 0 and 1
 * @param {[number, number, number]} shape slices, height, width
 * @returns {{labels: Int32Array, sizes: number[]}} 0 is background; sizes[n - 1] of piece n;
 *   numbered in the order in which they are first met, slice by slice and row by row
 */
export function label(mask, shape) {
  const [slices, height, width] = shape;
  const labels = new Int32Array(mask.length);
  const parents = [0];
  // The 13 neighbours that come before a pixel.
  const before = [];
  for (let dz = -1; dz <= 0; dz++)
    for (let dy = -1; dy <= 1; dy++)
      for (let dx = -1; dx <= 1; dx++)
        if (dz < 0 || dy < 0 || (dy === 0 && dx < 0)) before.push([dz, dy, dx]);
  let place = 0;
  for (let z = 0; z < slices; z++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++, place++) {
        if (!mask[place]) continue;
        let own = 0;
        for (const [dz, dy, dx] of before) {
          if (z + dz < 0 || y + dy < 0 || y + dy >= height || x + dx < 0 || x + dx >= width)
            continue;
          const other = labels[place + (dz * height + dy) * width + dx];
          if (!other) continue;
          if (!own) own = other;
          else if (own !== other) join(parents, own, other);
        }
        if (!own) {
          own = parents.length;
          parents.push(own);
        }
        labels[place] = own;
      }
  const numbers = new Int32Array(parents.length);
  const sizes = [];
  for (let piece = 1; piece < parents.length; piece++) {
    const top = root(parents, piece);
    if (top === piece) numbers[piece] = sizes.push(0);
    else numbers[piece] = numbers[top];
  }
  for (let i = 0; i < labels.length; i++) {
    if (!labels[i]) continue;
    labels[i] = numbers[labels[i]];
    sizes[labels[i] - 1] += 1;
  }
  return { labels, sizes };
}

/** Squared distances along one line, by the lower envelope of parabolas (Felzenszwalb 2012). */
function squaredLine(values, n, out, places, starts) {
  let k = -1;
  for (let q = 0; q < n; q++) {
    if (values[q] === Infinity) continue;
    while (k >= 0) {
      const v = places[k];
      const meet = (values[q] + q * q - values[v] - v * v) / (2 * q - 2 * v);
      if (meet > starts[k]) {
        places[++k] = q;
        starts[k] = meet;
        break;
      }
      k--;
    }
    if (k < 0) {
      k = 0;
      places[0] = q;
      starts[0] = -Infinity;
    }
  }
  if (k < 0) return out.fill(Infinity, 0, n);
  const last = k;
  k = 0;
  for (let q = 0; q < n; q++) {
    while (k < last && starts[k + 1] < q) k++;
    out[q] = (q - places[k]) ** 2 + values[places[k]];
  }
  return out;
}

/** scipy.ndimage.distance_transform_edt of one slice: how far each 1 is from the nearest 0. */
export function distances(mask, height, width) {
  const result = new Float64Array(mask.length);
  for (let i = 0; i < mask.length; i++) if (mask[i]) result[i] = Infinity;
  const n = Math.max(height, width);
  const [line, out] = [new Float64Array(n), new Float64Array(n)];
  const [places, starts] = [new Int32Array(n), new Float64Array(n)];
  const along = (start, step, count) => {
    for (let i = 0; i < count; i++) line[i] = result[start + i * step];
    squaredLine(line, count, out, places, starts);
    for (let i = 0; i < count; i++) result[start + i * step] = out[i];
  };
  for (let x = 0; x < width; x++) along(x, width, height);
  for (let y = 0; y < height; y++) along(y * width, 1, width);
  return result.map(Math.sqrt);
}

/** The pixels that can be reached from `seeds` within `allowed`, by sides or corners as well. */
export function reach(seeds, allowed, height, width, corners = false) {
  const result = new Uint8Array(allowed.length);
  const stack = [];
  for (let i = 0; i < seeds.length; i++)
    if (seeds[i] && allowed[i]) {
      result[i] = 1;
      stack.push(i);
    }
  const steps = [[0, 1], [0, -1], [1, 0], [-1, 0]];
  if (corners) steps.push([1, 1], [1, -1], [-1, 1], [-1, -1]);
  while (stack.length) {
    const place = stack.pop();
    const [y, x] = [Math.floor(place / width), place % width];
    for (const [dy, dx] of steps) {
      const [row, column] = [y + dy, x + dx];
      if (row < 0 || row >= height || column < 0 || column >= width) continue;
      const next = row * width + column;
      if (allowed[next] && !result[next]) {
        result[next] = 1;
        stack.push(next);
      }
    }
  }
  return result;
}

/** scipy.ndimage.binary_fill_holes of one slice. */
export function fillHoles(mask, height, width) {
  const border = new Uint8Array(mask.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (y === 0 || x === 0 || y === height - 1 || x === width - 1) border[y * width + x] = 1;
  const outside = reach(border, marks(mask, (one) => !one), height, width);
  return marks(outside, (one) => !one);
}

/** Lowest (erosion) or highest (dilation) value in a square of `side` pixels; 0 beyond the edge. */
function extreme(mask, height, width, side, erosion) {
  const reachOut = side >> 1;
  const needed = erosion ? side : 1;
  const once = (source, lines, lineStep, count, step) => {
    const out = new Uint8Array(source.length);
    for (let line = 0; line < lines; line++) {
      const start = line * lineStep;
      let sum = 0;
      for (let i = 0; i < Math.min(reachOut, count); i++) sum += source[start + i * step];
      for (let i = 0; i < count; i++) {
        if (i + reachOut < count) sum += source[start + (i + reachOut) * step];
        if (i - reachOut - 1 >= 0) sum -= source[start + (i - reachOut - 1) * step];
        out[start + i * step] = sum >= needed ? 1 : 0;
      }
    }
    return out;
  };
  return once(once(mask, height, width, width, 1), width, 1, height, width);
}

/** scipy.ndimage.binary_opening of one slice with a square of `side` pixels (odd). */
export function opening(mask, height, width, side) {
  return extreme(extreme(mask, height, width, side, true), height, width, side, false);
}

/** The pixels of a region with a neighbour at a side that is not in it, or beyond the edge. */
export function rim(inside, height, width) {
  const result = new Uint8Array(inside.length);
  let place = 0;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++, place++) {
      if (!inside[place]) continue;
      const within =
        y > 0 && x > 0 && y < height - 1 && x < width - 1 && inside[place - 1] &&
        inside[place + 1] && inside[place - width] && inside[place + width];
      if (!within) result[place] = 1;
    }
  return result;
}
