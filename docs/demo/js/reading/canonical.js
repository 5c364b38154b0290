// Slices as a volume with the usual axes: rightwards, forwards, upwards.

import { PIXEL_MM } from "./axial.js";

/** Slices (lowest first, brow at the top, the patient's right on the left) as x-fastest values. */
export function toCanonical(slices, [count, height, width]) {
  const result = new slices.constructor(slices.length);
  let place = 0;
  for (let z = 0; z < count; z++)
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++)
        result[(z * height + height - 1 - row) * width + width - 1 - column] = slices[place++];
  return result;
}

/** A 3 x 4 matrix that places such a volume about 0; pixels of the cohort's size if unknown. */
export function canonicalAffine([count, height, width], [distance, rowMm, columnMm]) {
  const edges = [columnMm ?? PIXEL_MM, rowMm ?? PIXEL_MM, distance];
  const lengths = [width, height, count];
  return edges.map((edge, axis) => {
    const row = [0, 0, 0, (-edge * (lengths[axis] - 1)) / 2];
    row[axis] = edge;
    return row;
  });
}
