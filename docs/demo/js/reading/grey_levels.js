// Which grey levels of a volume are black and white, and where its head is: utils.patient.grey_levels.
//
// Volumes are {data: Float32Array, shape: [slices, height, width]}.

import { label, marks, opening, reach, rim } from "../model/morphology.js";
import { argmax, rint } from "../model/numbers.js";

const [WHITE_PERCENTILE, BLACK_PERCENTILE] = [99.9, 0.1];
const MOST_COARSE = 2 ** 21;
const SMALLEST_HEAD_MM = 50;
const PADDING_SHARE = 0.2;
const MOST_LAYERS = 3;
const AIR_SPREADS = 6;
const SPECK = 0.1;
const DARKER_THAN_AIR = 0.005;

/** numpy.percentile of sorted 32-bit floats; `single`: for one number, in 32 bits as NumPy does. */
function percentile(sorted, percent, single = false) {
  const place = (sorted.length - 1) * (percent / 100);
  const below = Math.floor(place);
  const low = sorted[below];
  const high = sorted[Math.min(below + 1, sorted.length - 1)];
  const difference = Math.fround(high - low);
  const part = place - below;
  if (!single) return part < 0.5 ? low + difference * part : high - difference * (1 - part);
  const product = Math.fround(difference * Math.fround(part < 0.5 ? part : 1 - part));
  return Math.fround(part < 0.5 ? low + product : high - product);
}

function count(mask) {
  let sum = 0;
  for (let i = 0; i < mask.length; i++) sum += mask[i];
  return sum;
}

/** The values that a mask chooses. */
function where(data, chosen) {
  const result = new Float32Array(count(chosen));
  let place = 0;
  for (let i = 0; i < data.length; i++) if (chosen[i]) result[place++] = data[i];
  return result;
}

/** Do something with each slice of a mask, and return the slices of the results together. */
function bySlice(mask, [slices, height, width], change) {
  const result = new Uint8Array(mask.length);
  const pixels = height * width;
  for (let z = 0; z < slices; z++)
    result.set(change(mask.subarray(z * pixels, (z + 1) * pixels), height, width), z * pixels);
  return result;
}

function thinning(shape) {
  const steps = [1, 1, 1];
  const left = () => shape.reduce((product, n, i) => product * Math.ceil(n / steps[i]), 1);
  while (left() > MOST_COARSE) steps[argmax(shape.map((n, i) => Math.floor(n / steps[i])))] *= 2;
  return steps;
}

function thinned({ data, shape }, steps) {
  const small = shape.map((n, i) => Math.ceil(n / steps[i]));
  const result = new Float32Array(small[0] * small[1] * small[2]);
  let place = 0;
  for (let z = 0; z < shape[0]; z += steps[0])
    for (let y = 0; y < shape[1]; y += steps[1])
      for (let x = 0; x < shape[2]; x += steps[2])
        result[place++] = data[(z * shape[1] + y) * shape[2] + x];
  return { data: result, shape: small };
}

/** The value that many of `values` have exactly, and far more than any other; or null. */
function constantOf(values) {
  if (!values.length) return null;
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  let [most, second, found] = [0, 0, null];
  for (const [value, n] of counts) {
    if (n > most) [second, most, found] = [most, n, value];
    else if (n > second) second = n;
  }
  return most >= Math.max(PADDING_SHARE * values.length, 3 * second) ? found : null;
}

/** The constant values around a volume, and where they are not. */
function paddingOf({ data, shape }) {
  const inside = marks(data, Number.isFinite);
  const padding = [];
  for (let layer = 0; layer < MOST_LAYERS; layer++) {
    const constant = constantOf(where(data, bySlice(inside, shape, rim)));
    if (constant === null) break;
    const same = marks(data, (one) => one === constant);
    const solid = bySlice(same, shape, (mask, h, w) => opening(mask, h, w, 3));
    if (!solid.some((one) => one)) break;
    padding.push(constant);
    solid.forEach((one, i) => {
      if (one) inside[i] = 0;
    });
  }
  return { padding, inside };
}

/** The noise at the rim of a region; null if what lies there is no dark, even noise. */
function airOf(data, shape, inside) {
  const edge = bySlice(inside, shape, rim);
  const around = where(data, edge).sort();
  if (!around.length) return null;
  const [floor, low, level] = [1, 5, 25].map((percent) => percentile(around, percent));
  const reachUp = level + AIR_SPREADS * (level - low);
  const limitUp = Math.fround(reachUp);
  const values = where(data, inside);
  const brighter = where(values, marks(values, (one) => one > limitUp)).sort();
  if (brighter.length < 50) return null;
  const bright = percentile(brighter, 99, true);
  if (reachUp - floor > 0.5 * (bright - floor)) return null;
  const darkest = Math.fround(level - 4 * (level - low));
  if (count(marks(values, (one) => one < darkest)) > DARKER_THAN_AIR * values.length) return null;
  const ceiling = Math.max(reachUp, level + 0.1 * (bright - level));
  const limit = Math.fround(ceiling);
  const dark = marks(inside, (one, i) => one && data[i] <= limit);
  const thick = bySlice(dark, shape, (mask, h, w) => opening(mask, h, w, 5));
  const share = count(marks(edge, (one, i) => one && thick[i]));
  if (share < 0.5 * count(marks(edge, (one, i) => one && dark[i]))) return null;
  return { ceiling, floor };
}

/** Which voxels are neither padding nor air. */
function foreground(data, sign, padding, air) {
  const values = padding.map(Math.fround);
  const ceiling = air ? Math.fround(air.ceiling) : -Infinity;
  return marks(
    data, (one) => Number.isFinite(one) && !values.includes(one) && sign * one > ceiling,
  );
}

function naturalBlack(black, white, padding) {
  for (const value of [...padding].sort((a, b) => b - a)) {
    const share = value === 0 ? 1.0 : 0.25;
    if (value < black && black - value <= share * (white - black)) return value;
  }
  return black;
}

function negative(data) {
  const result = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) result[i] = -data[i];
  return result;
}

/** The box around the large pieces of a head, in voxels of the whole volume, or null. */
function boxOf(head, shape, steps, edges) {
  const { labels, sizes } = label(head, shape);
  if (!sizes.length || head.every((one) => one)) return null;
  const large = SPECK * sizes.reduce((most, one) => Math.max(most, one));
  const box = shape.map((n) => [n, 0]);
  let place = 0;
  for (let z = 0; z < shape[0]; z++)
    for (let y = 0; y < shape[1]; y++)
      for (let x = 0; x < shape[2]; x++, place++) {
        if (!labels[place] || sizes[labels[place] - 1] < large) continue;
        for (const [axis, at] of [[0, z], [1, y], [2, x]]) {
          if (at < box[axis][0]) box[axis][0] = at;
          if (at >= box[axis][1]) box[axis][1] = at + 1;
        }
      }
  for (const axis of [1, 2])
    if ((box[axis][1] - box[axis][0]) * edges[axis] < SMALLEST_HEAD_MM) return null;
  return box.map(([first, last], axis) => [first * steps[axis], last * steps[axis]]);
}

/**
 * Return the grey levels of a volume and where its head is: utils.patient.grey_levels.measure.
 *
 * @param {{data: Float32Array, shape: number[]}} volume axial slices
 * @param {number[]} voxelMm distance of the slices, height and width of a voxel, in mm
 * @returns {{black: number, white: number, padding: number[], box: number[][]|null,
 *   inverted: boolean, noNumber: boolean, brightPadding: number|null}}
 */
export function measure(volume, voxelMm) {
  const steps = thinning(volume.shape);
  const coarse = thinned(volume, steps);
  const { padding, inside } = paddingOf(coarse);
  let [air, sign] = [airOf(coarse.data, coarse.shape, inside), 1];
  if (!air) [air, sign] = [airOf(negative(coarse.data), coarse.shape, inside), -1];
  const finite = where(volume.data, marks(volume.data, Number.isFinite));
  const noNumber = finite.length < volume.data.length;
  const rest = { padding, box: null, inverted: false, noNumber, brightPadding: null };
  const tissue = where(volume.data, foreground(volume.data, sign, padding, air)).sort();
  if (!tissue.length) {
    finite.sort();
    if (!finite.length) return { ...rest, black: 0, white: 0 };
    const ends = [BLACK_PERCENTILE, WHITE_PERCENTILE].map((one) => percentile(finite, one));
    return { ...rest, black: ends[0], white: ends[1] };
  }
  let black = percentile(tissue, BLACK_PERCENTILE);
  const white = percentile(tissue, WHITE_PERCENTILE);
  if (air && sign === 1) black = Math.min(black, air.floor);
  black = naturalBlack(black, white, padding);
  const high = padding.filter((one) => one >= percentile(tissue, 95, true) && one > black);
  return {
    ...rest, black, white,
    box: boxOf(foreground(coarse.data, sign, padding, air), coarse.shape, steps,
      voxelMm.map((mm, axis) => mm * steps[axis])),
    inverted: air !== null && sign === -1,
    brightPadding: high.length ? Math.max(...high) : null,
  };
}

/**
 * Return one plane on the scale 0..255: linear from black to white, clipped, padding 0.
 *
 * @param {Float32Array} values height x width
 */
export function to8Bit(values, height, width, levels) {
  const result = new Uint8Array(values.length);
  if (!(levels.white > levels.black)) return result;
  const outside = marks(values, (one) => !Number.isFinite(one));
  for (const value of levels.padding.map(Math.fround)) {
    if (!(value > levels.black)) continue;
    const same = marks(values, (one) => one === value);
    if (!same.some((one) => one)) continue;
    const grown = reach(opening(same, height, width, 3), same, height, width);
    grown.forEach((one, i) => {
      if (one) outside[i] = 1;
    });
  }
  const scale = 255 / (levels.white - levels.black);
  for (let i = 0; i < values.length; i++) {
    if (outside[i]) continue;
    result[i] = rint(Math.min(255, Math.max(0, (values[i] - levels.black) * scale)));
  }
  return result;
}
