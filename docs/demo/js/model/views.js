// How a network is shown a patient: utils.cohort.volumes and utils.cohort.framing.
//
// A volume is {data: Uint8Array, slices, height, width}: slices x height x width x 3, the channels
// pre-contrast, FLAIR and post-contrast.

import { distances, fillHoles, marks } from "./morphology.js";
import { argmax, gaussianFilter, pairwiseSum, rint } from "./numbers.js";
import { resize } from "./resize.js";

const HEAD_MEAN = 96;
const GREY_LEVELS_PER_SD = 40;
const HEAD_SHARE = 0.1;
const HEAD_PERCENTILE = 99.5;
const BRAIN_MODE = 85;
const SCALP = 0.05;
const SMOOTHED_LEVELS = 3.0;
const LEAST_SHARE = 0.02;
const MARGIN = 0.04;
// Whose neighbouring slices are channels.
const SEQUENCES = { neighbours: [1], all: [0, 1, 2] };

/** One slice of a volume, without a copy. */
export function sliceOf(volume, place) {
  const size = volume.height * volume.width * 3;
  return volume.data.subarray(place * size, (place + 1) * size);
}

function percentile(counts, percent) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const place = (total - 1) * (percent / 100);
  const below = Math.floor(place);
  const level = (rank) => {
    let sum = 0;
    for (let value = 0; value < counts.length; value++) {
      sum += counts[value];
      if (sum > rank) return value;
    }
    return counts.length - 1;
  };
  const [low, high] = [level(below), level(below + 1)];
  const part = place - below;
  return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
}

/** For each channel the grey level that a pixel of the head exceeds. */
function headFloors(volume) {
  const counts = [0, 1, 2].map(() => new Float64Array(256));
  for (let place = 0; place < volume.slices; place++) {
    const image = sliceOf(volume, place);
    for (let y = 0; y < volume.height; y += 2)
      for (let x = 0; x < volume.width; x += 2)
        for (let c = 0; c < 3; c++) counts[c][image[(y * volume.width + x) * 3 + c]] += 1;
  }
  return counts.map((one) => Math.floor(HEAD_SHARE * percentile(one, HEAD_PERCENTILE)));
}

/** Where the head is in one slice: two of three channels exceed their floor. */
function headPixels(image, floors) {
  const head = new Uint8Array(image.length / 3);
  for (let i = 0, p = 0; i < head.length; i++, p += 3) {
    const bright =
      (image[p] > floors[0]) + (image[p + 1] > floors[1]) + (image[p + 2] > floors[2]);
    head[i] = bright >= 2 ? 1 : 0;
  }
  return head;
}

function addLevels(counts, image, where) {
  for (let i = 0, p = 0; p < image.length; i++, p += 3)
    if (!where || where[i]) for (let c = 0; c < 3; c++) counts[c][image[p + c]] += 1;
}

/** utils.cohort.volumes.normalisation: what each grey level of a patient becomes, by channel. */
export function headMeanTables(volume) {
  const floors = headFloors(volume);
  let counts = [0, 1, 2].map(() => new Float64Array(256));
  for (let place = 0; place < volume.slices; place++) {
    const image = sliceOf(volume, place);
    addLevels(counts, image, headPixels(image, floors));
  }
  if (!counts[0].some((count) => count > 0)) {
    counts = [0, 1, 2].map(() => new Float64Array(256));
    for (let place = 0; place < volume.slices; place++) addLevels(counts, sliceOf(volume, place));
  }
  return counts.map((count) => {
    const total = pairwiseSum(count);
    const mean = pairwiseSum(count.map((n, level) => n * level)) / total;
    const spread = pairwiseSum(count.map((n, level) => n * ((level - mean) * (level - mean))));
    const deviation = Math.sqrt(spread / total);
    return Uint8Array.from(count, (_, level) => {
      const score = deviation > 0 ? (level - mean) / deviation : 0;
      return Math.min(255, Math.max(0, rint(HEAD_MEAN + GREY_LEVELS_PER_SD * score)));
    });
  });
}

/** utils.cohort.volumes.mode_normalisation: the brain's most frequent grey level made alike. */
export function brainModeTables(volume) {
  const floors = headFloors(volume);
  const counts = [0, 1, 2].map(() => new Float64Array(256));
  const [height, width] = [Math.ceil(volume.height / 2), Math.ceil(volume.width / 2)];
  const thin = new Uint8Array(height * width * 3);
  for (let place = 0; place < volume.slices; place++) {
    const image = sliceOf(volume, place);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < 3; c++)
          thin[(y * width + x) * 3 + c] = image[(2 * y * volume.width + 2 * x) * 3 + c];
    const filled = fillHoles(headPixels(thin, floors), height, width);
    const deep = distances(filled, height, width);
    const limit = SCALP * Math.max(height, width);
    addLevels(counts, thin, marks(deep, (one) => one > limit));
  }
  counts.forEach((count, channel) => count.fill(0, 0, Math.max(1, floors[channel])));
  if (!counts.some((count) => count.some((n) => n > 0))) return headMeanTables(volume);
  return counts.map((count) => {
    if (!count.some((n) => n > 0)) return new Uint8Array(256); // black in the brain, and stays it
    const mode = argmax(gaussianFilter(count, SMOOTHED_LEVELS, "constant"));
    return Uint8Array.from(count, (_, level) =>
      Math.min(255, Math.max(0, rint(level * (BRAIN_MODE / Math.max(1, mode))))),
    );
  });
}

/** utils.cohort.framing.head_square: {top, left, side} around the head in all slices. */
export function headSquare(volume) {
  const floors = headFloors(volume);
  const rows = new Float64Array(volume.height);
  const columns = new Float64Array(volume.width);
  for (let place = 0; place < volume.slices; place++) {
    const head = headPixels(sliceOf(volume, place), floors);
    for (let i = 0; i < head.length; i++)
      if (head[i]) {
        rows[Math.floor(i / volume.width)] += 1;
        columns[i % volume.width] += 1;
      }
  }
  if (!rows.some((count) => count > 0)) {
    const side = Math.max(volume.height, volume.width);
    const start = (length) => Math.floor((length - side) / 2);
    return { top: start(volume.height), left: start(volume.width), side };
  }
  const ends = [rows, columns].map((counts) => {
    const least = LEAST_SHARE * Math.max(...counts);
    const within = [...counts.keys()].filter((i) => counts[i] > least);
    return [within[0], within[within.length - 1] + 1];
  });
  const longest = Math.max(...ends.map(([first, last]) => last - first));
  const side = Math.ceil(longest / (1 - MARGIN));
  const [top, left] = ends.map(([first, last]) => Math.floor((first + last - side) / 2));
  return { top, left, side };
}

/** What a square shows of a picture; 0 where it reaches out of it. */
export function cutOut(picture, [height, width], { top, left, side }, channels) {
  const result = new picture.constructor(side * side * channels);
  copyOverlap([height, width], { top, left, side }, (inside, outside, count) => {
    const from = outside * channels;
    result.set(picture.subarray(from, from + count * channels), inside * channels);
  });
  return result;
}

/** A picture of a shape with what a square shows of it; 0 outside the square. */
export function putBack(shown, square, [height, width]) {
  const result = new shown.constructor(height * width);
  copyOverlap([height, width], square, (inside, outside, count) => {
    result.set(shown.subarray(inside, inside + count), outside);
  });
  return result;
}

function copyOverlap([height, width], { top, left, side }, copy) {
  const first = Math.max(0, left);
  const count = Math.min(width, left + side) - first;
  if (count <= 0) return;
  for (let y = Math.max(0, top); y < Math.min(height, top + side); y++)
    copy((y - top) * side + first - left, y * width + first, count);
}

/**
 * Return what a network is shown of a patient, and where that is in the pictures.
 *
 * @param {object} volume
 * @param {{size: number, greyLevels: string, frame: string}} view
 * @param {[number, number]} [occupied] slices by which grey levels are measured; default: all
 * @returns {{images: Uint8Array[], square: object|null}} each image size x size x 3
 */
export function prepare(volume, view, occupied) {
  const [first, last] = occupied ?? [0, volume.slices];
  const each = volume.height * volume.width * 3;
  const measured = {
    ...volume, slices: last - first, data: volume.data.subarray(first * each, last * each),
  };
  const brain = view.greyLevels === "brain_mode";
  const tables = brain ? brainModeTables(measured) : headMeanTables(measured);
  const square = view.frame === "head" ? headSquare(measured) : null;
  const images = [];
  for (let place = 0; place < volume.slices; place++) {
    let shape = [volume.height, volume.width];
    let image = sliceOf(volume, place);
    if (square) {
      image = cutOut(image, shape, square, 3);
      shape = [square.side, square.side];
    }
    const normalised = new Uint8Array(image.length);
    for (let i = 0; i < image.length; i++) normalised[i] = tables[i % 3][image[i]];
    images.push(resize(normalised, shape, [view.size, view.size], 3));
  }
  return { images, square };
}

/** The channels that a network sees of one slice, as floats: utils.cohort.volumes.arrange_channels. */
export function arrange(images, place, channels) {
  const pixels = images[place].length / 3;
  if (channels === "sequences") return new Float32Array(images[place]);
  const sequences = SEQUENCES[channels];
  const depth = 3 * sequences.length;
  const result = new Float32Array(pixels * depth);
  for (const [number, sequence] of sequences.entries())
    for (let offset = -1; offset <= 1; offset++) {
      const image = images[Math.min(images.length - 1, Math.max(0, place + offset))];
      const channel = 3 * number + offset + 1;
      for (let i = 0; i < pixels; i++) result[i * depth + channel] = image[i * 3 + sequence];
    }
  return result;
}

/** FLAIR of each prepared slice, as the refinement needs it. */
export function flairOf(images) {
  return images.map((image) => {
    const flair = new Uint8Array(image.length / 3);
    for (let i = 0; i < flair.length; i++) flair[i] = image[i * 3 + 1];
    return flair;
  });
}
