// From the axes of a file to axial slices in the cohort's frame, and back: utils.patient.axial.
//
// Slices are shown with the brow at the top and the patient's right on the left.

import { rint } from "../model/numbers.js";
import { resize, resizeMask } from "../model/resize.js";
import { determinant } from "./nifti.js";

export const FRAME = 256;
export const PIXEL_MM = 240 / FRAME;

function inverseTransposed(m) {
  const d = determinant(m);
  const minor = (i, j) => {
    const [a, b] = [0, 1, 2].filter((row) => row !== i);
    const [c, e] = [0, 1, 2].filter((column) => column !== j);
    return m[a][c] * m[b][e] - m[a][e] * m[b][c];
  };
  return [0, 1, 2].map((i) => [0, 1, 2].map((j) => ((i + j) % 2 ? -1 : 1) * (minor(i, j) / d)));
}

/**
 * Which anatomical axis (0 rightwards, 1 forwards, 2 upwards) each axis of a file runs along, and
 * in which direction: nibabel's io_orientation.
 */
export function axesOf(affine) {
  const edges = edgeLengths(affine);
  // The rotation nearest to the matrix, by Newton's iteration.
  let turn = [0, 1, 2].map((i) => [0, 1, 2].map((j) => affine[i][j] / edges[j]));
  for (let step = 0; step < 30; step++) {
    const other = inverseTransposed(turn);
    turn = turn.map((row, i) => row.map((one, j) => (one + other[i][j]) / 2));
  }
  const strongest = (axis) => Math.max(...turn.map((row) => row[axis] ** 2));
  const order = [0, 1, 2].sort((a, b) => strongest(b) - strongest(a));
  const axes = [];
  const taken = new Set();
  for (const axis of order) {
    let to = -1;
    for (const row of [0, 1, 2])
      if (!taken.has(row) && (to < 0 || Math.abs(turn[row][axis]) > Math.abs(turn[to][axis])))
        to = row;
    taken.add(to);
    axes[axis] = { to, direction: turn[to][axis] < 0 ? -1 : 1 };
  }
  return axes;
}

/** Lengths of a matrix's columns, as NumPy's norm has them. */
const edgeLengths = (affine) =>
  [0, 1, 2].map((j) => Math.sqrt(affine[0][j] ** 2 + affine[1][j] ** 2 + affine[2][j] ** 2));

/**
 * Return where the voxels of a file lie.
 *
 * @returns {object} `slices`: shape of its axial slices; `voxelMm`: slice distance, height, width;
 *   `voxelMl`; and `offset(z, row, column)` steps into the file's values (x fastest)
 */
export function gridOf({ shape, affine, stated, placing }) {
  const axes = axesOf(affine);
  const fileStrides = [1, shape[0], shape[0] * shape[1]];
  const edges = edgeLengths(affine);
  const along = [2, 1, 0].map((to) => {
    const axis = axes.findIndex((one) => one.to === to);
    // Rows and columns run against the anatomical axes, slices with theirs.
    const forwards = axes[axis].direction * (to === 2 ? 1 : -1) > 0;
    const stride = fileStrides[axis];
    return {
      count: shape[axis], mm: edges[axis],
      step: forwards ? stride : -stride,
      start: forwards ? 0 : (shape[axis] - 1) * stride,
    };
  });
  return {
    shape, affine, stated, placing, along,
    slices: along.map((one) => one.count),
    voxelMm: along.map((one) => one.mm),
    voxelMl: Math.abs(determinant(affine)) / 1000,
  };
}

/** A file's values (x fastest) as axial slices, lowest first. */
export function toSlices(values, grid) {
  const [z, y, x] = grid.along;
  const result = new values.constructor(values.length);
  const start = z.start + y.start + x.start;
  let place = 0;
  for (let k = 0; k < z.count; k++)
    for (let j = 0; j < y.count; j++) {
      let from = start + k * z.step + j * y.step;
      for (let i = 0; i < x.count; i++, from += x.step) result[place++] = values[from];
    }
  return result;
}

/** Slices as a volume with the axes of the file: undoes toSlices. */
export function fromSlices(slices, grid) {
  const [z, y, x] = grid.along;
  const result = new slices.constructor(slices.length);
  const start = z.start + y.start + x.start;
  let place = 0;
  for (let k = 0; k < z.count; k++)
    for (let j = 0; j < y.count; j++) {
      let to = start + k * z.step + j * y.step;
      for (let i = 0; i < x.count; i++, to += x.step) result[to] = slices[place++];
    }
  return result;
}

/** Height and width of a slice once its pixels measure 0.94 mm. */
export function sizeAtPixelMm(grid) {
  return [1, 2].map((axis) =>
    Math.max(1, rint((grid.slices[axis] * grid.voxelMm[axis]) / PIXEL_MM)),
  );
}

const middleStart = (have, wanted) =>
  have.map((length, axis) => {
    const rest = length - wanted[axis];
    return rest > 0 ? Math.floor(rest / 2) : -Math.floor(-rest / 2);
  });

/** The part of a picture that begins at `start`, 0 beyond its edges. */
function windowOf(picture, [height, width], [top, left], [high, wide]) {
  const result = new Uint8Array(high * wide);
  for (let y = 0; y < high; y++) {
    const row = y + top;
    if (row < 0 || row >= height) continue;
    const first = Math.max(0, left);
    const last = Math.min(left + wide, width);
    if (last > first)
      result.set(
        picture.subarray(row * width + first, row * width + last), y * wide + first - left,
      );
  }
  return result;
}

/** Where the frame of 240 mm begins: about the middle, unless that cuts the head; and what is cut. */
export function placeFrame(grid, box) {
  const size = sizeAtPixelMm(grid);
  const start = middleStart(size, [FRAME, FRAME]);
  let cutMm = 0;
  for (const axis of [0, 1]) {
    if (size[axis] <= FRAME) continue;
    if (!box) {
      cutMm = Math.max(cutMm, (size[axis] - FRAME) * PIXEL_MM);
      continue;
    }
    let [first, last] = box[axis + 1].map((edge) => (edge * grid.voxelMm[axis + 1]) / PIXEL_MM);
    last = Math.min(last, size[axis]);
    if (first < start[axis] || last > start[axis] + FRAME) {
      const middle = rint((first + last - FRAME) / 2);
      start[axis] = Math.min(Math.max(middle, 0), size[axis] - FRAME);
    }
    const beyond = Math.max(start[axis] - first, 0) + Math.max(last - start[axis] - FRAME, 0);
    cutMm = Math.max(cutMm, beyond * PIXEL_MM);
  }
  return { start, cutMm };
}

/** Axial slices (bytes) at the cohort's pixel size, padded or cropped to its frame. */
export function toFrame(slices, grid, start) {
  const size = sizeAtPixelMm(grid);
  const [count, height, width] = grid.slices;
  const result = new Uint8Array(count * FRAME * FRAME);
  for (let z = 0; z < count; z++) {
    const each = slices.subarray(z * height * width, (z + 1) * height * width);
    const resized = resize(each, [height, width], size);
    result.set(windowOf(resized, size, start, [FRAME, FRAME]), z * FRAME * FRAME);
  }
  return result;
}

/** Masks of the frame at the size of the file's slices: undoes toFrame. */
export function fromFrame(masks, grid, [row, column]) {
  const size = sizeAtPixelMm(grid);
  const [count, height, width] = grid.slices;
  const result = new Uint8Array(count * height * width);
  for (let z = 0; z < count; z++) {
    const each = masks.subarray(z * FRAME * FRAME, (z + 1) * FRAME * FRAME);
    const whole = windowOf(each, [FRAME, FRAME], [-row, -column], size);
    result.set(resizeMask(whole, size, [height, width]), z * height * width);
  }
  return result;
}
