// From maps of probability to masks: utils.models.postprocessing and utils.models.refinement.

import { distances, label, marks } from "./morphology.js";
import { expit, gaussianFilter, logit, pairwiseSum } from "./numbers.js";
import { resize } from "./resize.js";
import { putBack } from "./views.js";

const SURE = Math.fround(0.8);
const SURELY_NOT = Math.fround(0.1);
const LEFT = Math.fround(0.05);
const REACH = 0.1;
const SMOOTHED_LEVELS = 6.0;
const STRONGEST = 3.0;
const LEAST_PIXELS = 50;
const MOST_EVIDENCE = 6.0;

/**
 * Return maps corrected by the patient's own grey levels: utils.models.refinement.refine.
 *
 * @param {Float32Array[]} maps one a slice, size x size
 * @param {Uint8Array[]} flair what the network was shown of FLAIR, in the same shape
 * @param {number} size
 * @param {number} strength 0 leaves the maps as they are
 */
export function refine(maps, flair, size, strength) {
  if (!strength) return maps;
  const pixels = size * size;
  const sure = new Uint8Array(maps.length * pixels);
  maps.forEach((map, place) =>
    map.forEach((p, i) => {
      if (p > SURE) sure[place * pixels + i] = 1;
    }),
  );
  const { labels, sizes } = label(sure, [maps.length, size, size]);
  const largest = 1 + sizes.indexOf(sizes.reduce((most, one) => Math.max(most, one), 0));
  const inside = new Float64Array(256);
  const around = new Float64Array(256);
  const reach = REACH * size;
  maps.forEach((map, place) => {
    const own = labels.subarray(place * pixels, (place + 1) * pixels);
    const away = marks(own, (one) => !(sizes.length && one === largest));
    if (away.every((one) => one)) return;
    const distance = distances(away, size, size);
    for (let i = 0; i < pixels; i++) {
      const level = flair[place][i];
      if (!away[i]) inside[level] += 1;
      if (distance[i] <= reach && map[i] < SURELY_NOT && level > 0) around[level] += 1;
    }
  });
  const total = (histogram) => histogram.reduce((sum, one) => sum + one, 0);
  if (Math.min(total(inside), total(around)) < LEAST_PIXELS) return maps;
  const [tumour, rest] = [density(inside), density(around)];
  const ratio = tumour.map((one, level) =>
    Math.min(STRONGEST, Math.max(-STRONGEST, Math.log(one / rest[level]))),
  );
  return maps.map((map, place) =>
    map.map((p, i) => (p > LEFT ? expit(logit(p) + strength * ratio[flair[place][i]]) : p)),
  );
}

function density(histogram) {
  const smoothed = gaussianFilter(histogram, SMOOTHED_LEVELS, "nearest");
  const total = pairwiseSum(smoothed);
  return smoothed.map((one) => one / total + 1e-4);
}

/** One map at the size of the file; of a square of the picture: with 0 around it. */
function resizeMap(map, size, shape, square) {
  if (!square) return resize(map, [size, size], shape);
  return putBack(resize(map, [size, size], [square.side, square.side]), square, shape);
}

/** Each slice's map averaged with its neighbours', in 32-bit floats as NumPy has them. */
function* smoothed(maps, size, neighbours, shape, square) {
  const weight = Math.fround(neighbours);
  const own = Math.fround(1 - 2 * neighbours);
  const at = (place) => resizeMap(maps[place], size, shape, square);
  if (!neighbours) {
    for (const place of maps.keys()) yield at(place);
    return;
  }
  let [before, here] = [null, maps.length ? at(0) : null];
  for (const place of maps.keys()) {
    const after = place === maps.length - 1 ? here : at(place + 1);
    const first = before ?? here;
    const middle = here;
    yield middle.map((p, i) =>
      Math.fround(weight * Math.fround(first[i] + after[i])) + Math.fround(own * p),
    );
    [before, here] = [here, after];
  }
}

/**
 * Return the masks of one patient: utils.models.postprocessing.postprocess.
 *
 * @param {Float32Array[]} maps one a slice, size x size, all slices of the patient in order
 * @param {number} size
 * @param {object} settings threshold, minimum_px, largest_only, neighbours, least_share
 * @param {[number, number]} shape height and width of the masks
 * @param {object|null} square what the maps show of pictures of that shape
 * @returns {Uint8Array} slices x height x width, 1 in the tumour
 */
export function postprocess(maps, size, settings, shape, square) {
  const pixels = shape[0] * shape[1];
  const masks = new Uint8Array(maps.length * pixels);
  const threshold = Math.fround(settings.threshold);
  const minimum = settings.minimum_px ?? 0;
  const share = settings.least_share ?? 0;
  const evidence = share ? new Float64Array(masks.length) : null;
  let start = 0;
  for (const map of smoothed(maps, size, settings.neighbours ?? 0, shape, square)) {
    for (let i = 0; i < pixels; i++) {
      if (!(map[i] >= threshold)) continue;
      masks[start + i] = 1;
      if (evidence) evidence[start + i] = Math.min(MOST_EVIDENCE, Math.max(0, logit(map[i])));
    }
    start += pixels;
  }
  if (minimum > 1 || settings.largest_only || share)
    dropPieces(masks, [maps.length, ...shape], { ...settings, minimum, share }, evidence);
  return masks;
}

function dropPieces(masks, shape, settings, evidence) {
  const { labels, sizes } = label(masks, shape);
  if (!sizes.length) return;
  let kept = sizes.map((size) => size >= Math.max(1, settings.minimum));
  if (settings.largest_only) {
    const largest = sizes.indexOf(sizes.reduce((most, one) => Math.max(most, one)));
    kept = kept.map((one, piece) => one && piece === largest);
  }
  if (evidence) {
    const speaking = new Float64Array(sizes.length);
    for (let i = 0; i < labels.length; i++)
      if (labels[i]) speaking[labels[i] - 1] += evidence[i];
    const most = speaking.reduce((a, b) => Math.max(a, b));
    kept = kept.map((one, piece) => one && speaking[piece] >= settings.share * most);
  }
  for (let i = 0; i < masks.length; i++) if (masks[i]) masks[i] = kept[labels[i] - 1] ? 1 : 0;
}
