// Pillow's bilinear resize, for bytes (in its fixed-point numbers) and for floats.

const BITS = 22; // of the fraction, in Pillow's 8-bit resampling

/** Which input pixels make each output pixel, and with which weights. */
function filter(have, wanted) {
  const scale = have / wanted;
  const support = Math.max(scale, 1);
  const length = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(wanted);
  const count = new Int32Array(wanted);
  const weights = new Float64Array(wanted * length);
  for (let out = 0; out < wanted; out++) {
    const centre = (out + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const n = Math.min(have, Math.trunc(centre + support + 0.5)) - low;
    let total = 0;
    for (let i = 0; i < n; i++) {
      const weight = Math.max(0, 1 - Math.abs((i + low - centre + 0.5) * (1 / support)));
      weights[out * length + i] = weight;
      total += weight;
    }
    for (let i = 0; i < n && total; i++) weights[out * length + i] /= total;
    first[out] = low;
    count[out] = n;
  }
  return { first, count, weights, length };
}

/** One pass along an axis; `stride` between neighbours on it, over `lines` starting places. */
function pass(source, target, have, wanted, lines, bytes) {
  const { first, count, weights, length } = filter(have, wanted);
  const whole = bytes ? Int32Array.from(weights, (w) => Math.trunc(0.5 + w * 2 ** BITS)) : weights;
  for (const { from, to, step } of lines()) {
    for (let out = 0; out < wanted; out++) {
      let sum = bytes ? 1 << (BITS - 1) : 0;
      const place = from + first[out] * step;
      for (let i = 0; i < count[out]; i++) {
        sum += source[place + i * step] * whole[out * length + i];
      }
      target[to + out * step] = bytes ? Math.min(255, Math.max(0, sum >> BITS)) : sum;
    }
  }
}

/**
 * Return a picture at another size, as Image.resize(size, BILINEAR) does.
 *
 * @param {Uint8Array|Float32Array} source height x width x channels, row by row
 * @param {[number, number]} have height and width
 * @param {[number, number]} wanted height and width
 * @param {number} channels how many values a pixel has
 */
export function resize(source, have, wanted, channels = 1) {
  const bytes = !(source instanceof Float32Array);
  const Kind = bytes ? Uint8Array : Float32Array;
  let [height, width] = have;
  let result = source;
  if (width !== wanted[1]) {
    const target = new Kind(height * wanted[1] * channels);
    const before = width;
    pass(result, target, before, wanted[1], function* () {
      for (let row = 0; row < height; row++) {
        for (let c = 0; c < channels; c++) {
          const from = row * before * channels + c;
          yield { from, to: row * wanted[1] * channels + c, step: channels };
        }
      }
    }, bytes);
    [result, width] = [target, wanted[1]];
  }
  if (height !== wanted[0]) {
    const line = width * channels;
    const target = new Kind(wanted[0] * line);
    pass(result, target, height, wanted[0], function* () {
      for (let place = 0; place < line; place++) yield { from: place, to: place, step: line };
    }, bytes);
    result = target;
  }
  return result;
}

/** utils.cohort.volumes.resize_mask: 1 where at least half of what falls together is 1. */
export function resizeMask(mask, have, wanted) {
  if (have[0] === wanted[0] && have[1] === wanted[1]) return mask;
  return resize(mask.map((one) => one * 255), have, wanted).map((one) => (one >= 128 ? 1 : 0));
}
