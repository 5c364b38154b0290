// Sums and roundings as NumPy does them, to the last bit: a mask is compared pixel by pixel.

/** Round half to even, as numpy.round does. */
export function rint(value) {
  const floor = Math.floor(value);
  const part = value - floor;
  if (part !== 0.5) return part < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Sum of a[start..stop) in the order in which NumPy adds (pairwise, eight at a time). */
export function pairwiseSum(a, start = 0, stop = a.length) {
  const n = stop - start;
  if (n < 8) {
    let sum = 0;
    for (let i = start; i < stop; i++) sum += a[i];
    return sum;
  }
  if (n <= 128) {
    const r = Array.from({ length: 8 }, (_, i) => a[start + i]);
    let i = 8;
    for (; i < n - (n % 8); i += 8) for (let j = 0; j < 8; j++) r[j] += a[start + i + j];
    let sum = r[0] + r[1] + (r[2] + r[3]) + (r[4] + r[5] + (r[6] + r[7]));
    for (; i < n; i++) sum += a[start + i];
    return sum;
  }
  let half = n >> 1;
  half -= half % 8;
  return pairwiseSum(a, start, start + half) + pairwiseSum(a, start + half, stop);
}

const SMALLEST = 1e-7;

/** log(p / (1 - p)), p kept within 1e-7 of 0 and 1: utils.evaluation.calibration.logits. */
export function logit(p) {
  const inside = Math.min(Math.max(p, SMALLEST), 1 - SMALLEST);
  if (inside < 0.3 || inside > 0.65) return Math.log(inside / (1 - inside));
  const s = 2 * (inside - 0.5); // near one half, as SciPy does
  return Math.log1p(s) - Math.log1p(-s);
}

/** 1 / (1 + exp(-x)). */
export const expit = (x) => 1 / (1 + Math.exp(-x));

/** scipy.ndimage.gaussian_filter1d; beyond its ends the array is 0, or its last value (nearest). */
export function gaussianFilter(values, sigma, mode) {
  const radius = Math.floor(4 * sigma + 0.5);
  const raw = Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp((-0.5 / (sigma * sigma)) * (i - radius) ** 2),
  );
  const total = pairwiseSum(raw);
  const weights = raw.map((weight) => weight / total);
  const last = values.length - 1;
  const at = (i) => {
    if (i >= 0 && i <= last) return values[i];
    return mode === "nearest" ? values[i < 0 ? 0 : last] : 0;
  };
  return Float64Array.from(values, (_, i) => {
    let sum = at(i) * weights[radius];
    for (let j = -radius; j < 0; j++) sum += (at(i + j) + at(i - j)) * weights[radius + j];
    return sum;
  });
}

/** Index of the largest value, the first of equals. */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
