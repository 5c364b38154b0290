// One patient from the files that were given: utils.patient.read, for a browser.

import { FRAME, PIXEL_MM, fromFrame, fromSlices, gridOf, placeFrame, toFrame, toSlices } from
  "./axial.js";
import { InputError } from "./errors.js";
import { measure, to8Bit } from "./grey_levels.js";
import { isNiftiName, notesOnPlacement, readNifti, stemOf } from "./nifti.js";
import { isPng, readPng } from "./png.js";
import { readTiff } from "./tiff.js";

export const LARGEST_FILE = 256 * 2 ** 20;
const LARGEST_TOGETHER = 512 * 2 ** 20;
const MOST_SLICES = 1024;
const LONGEST_IN_PLANE_MM = 2;
const CUT_MM = 5;
const MOST_VOXELS = 2 ** 25;
const HOW_TO_NAME = "name them pre.nii.gz, flair.nii.gz and post.nii.gz";
const NAMES = { pre: "pre-contrast T1", flair: "FLAIR", post: "post-contrast T1" };
const SLICE = /^(.+)_(\d+)(_mask)?\.(tiff?|png)$/i;

/**
 * Read a patient.
 *
 * @param {{name: string, size: number, bytes: () => Promise<Uint8Array>}[]} files
 * @returns {Promise<object>} name; volume {data, slices, height, width}: pre-contrast, FLAIR,
 *   post-contrast as bytes; occupied: slices by which grey levels are measured, or undefined;
 *   grid and start of a NIfTI, or null; spacing [slice, row, column] in mm, or null; notes
 */
export async function readPatient(files) {
  checkSizes(files);
  const nifti = files.filter((file) => isNiftiName(file.name));
  if (nifti.length && nifti.length < files.length)
    throw new InputError(
      "NIfTI files and slices are mixed; give either the volumes or the slices of one patient.",
    );
  return nifti.length ? fromNifti(nifti) : fromSliceFiles(files);
}

function checkSizes(files) {
  if (!files.length) throw new InputError("No file was given; choose the slices of one patient.");
  const large = files.find((file) => file.size > LARGEST_FILE);
  const told = (size) => `${Math.round(size / 1e6)} MB`;
  if (large)
    throw new InputError(
      `${large.name}: has ${told(large.size)}, this page reads files of up to ` +
        `${told(LARGEST_FILE)}; crop it to the head, or use python -m utils.predict.`,
    );
  const together = files.reduce((sum, file) => sum + file.size, 0);
  if (together > LARGEST_TOGETHER)
    throw new InputError(
      `The files have ${told(together)} together, this page reads up to ` +
        `${told(LARGEST_TOGETHER)}; give the slices of one patient only.`,
    );
}

/** Sort slices by the number in their name, and check that they are those of one patient. */
function inOrder(files) {
  const odd = files.find((file) => !SLICE.test(file.name));
  if (odd && !/\.(tiff?|png)$/i.test(odd.name))
    throw new InputError(
      `${odd.name}: is not an image that this page reads; give TIFF or PNG slices, or NIfTI ` +
        "volumes (.nii, .nii.gz).",
    );
  if (odd && files.length > 1)
    throw new InputError(
      `${odd.name}: has no slice number; name the slices <patient>_<n>.tif, counted from 1.`,
    );
  if (odd) return { name: odd.name.replace(/\.[^.]+$/, ""), slices: files, masks: 0 };
  const parts = files.map((file) => ({ file, match: SLICE.exec(file.name) }));
  const slices = parts.filter(({ match }) => !match[3]);
  if (!slices.length) throw new InputError("Only masks were given; give the slices as well.");
  const name = slices[0].match[1];
  const other = slices.find(({ match }) => match[1] !== name);
  if (other)
    throw new InputError(
      `${other.file.name}: belongs to another patient than ${name}; give the slices of one.`,
    );
  const numbers = slices.map(({ match }) => Number(match[2])).sort((a, b) => a - b);
  const twice = numbers.find((number, place) => number === numbers[place - 1]);
  if (twice !== undefined)
    throw new InputError(`Slice ${twice} of ${name} is there twice; keep one.`);
  const missing = numbers.findIndex((number, place) => number !== place + 1);
  if (missing >= 0 && numbers.length > 1)
    throw new InputError(
      numbers[0] === 0
        ? `A slice of ${name} has the number 0, and they are counted from 1; renumber the slices.`
        : `Slice ${missing + 1} of ${name} is missing (${numbers.length} slices, the last one has ` +
          `the number ${numbers[numbers.length - 1]}); give all, numbered from 1.`,
    );
  slices.sort((a, b) => Number(a.match[2]) - Number(b.match[2]));
  return { name, slices: slices.map(({ file }) => file), masks: parts.length - slices.length };
}

const notLookedAt = (masks) =>
  masks === 1 ? "A mask file was not looked at." : `${masks} mask files were not looked at.`;

async function fromSliceFiles(files) {
  const { name, slices, masks } = inOrder(files);
  let volume = null;
  for (const [place, file] of slices.entries()) {
    const bytes = await file.bytes();
    if (!bytes.length) throw new InputError(`${file.name}: is empty; copy it again.`);
    const image = isPng(bytes) ? await readPng(bytes, file.name) : await readTiff(bytes, file.name);
    volume ??= {
      data: new Uint8Array(slices.length * image.data.length),
      slices: slices.length, height: image.height, width: image.width,
    };
    if (image.height !== volume.height || image.width !== volume.width)
      throw new InputError(
        `${file.name}: is ${image.height} x ${image.width} pixels, the first slice ` +
          `${volume.height} x ${volume.width}; export all at one size.`,
      );
    volume.data.set(image.data, place * image.data.length);
  }
  const flair = volume.data[1];
  let empty = true;
  for (let i = 1; empty && i < volume.data.length; i += 3) empty = volume.data[i] === flair;
  if (empty)
    throw new InputError(`${name}: its FLAIR is empty, every pixel is ${flair}; export it again.`);
  const notes = ["Slices in TIFF or PNG do not say which side is left, nor how large a pixel is."];
  if (masks) notes.push(notLookedAt(masks));
  if (slices.length === 1)
    notes.push("One slice alone: the network was trained to see its neighbours as well.");
  return { name, volume, grid: null, start: null, spacing: null, notes };
}

/** Words about contrast that utils.patient.sequences weighs up; here they leave it open. */
const OF_CONTRAST = new RegExp(
  "^(?:(?:with|mit)?(?:contrast\\w*|kontrast\\w*|gd\\w*|gad\\w*|dotarem|magnevist|prohance|" +
    "multihance|dtpa|ce|m?km|mdc|enh|enhanced|inj\\w*)|after|nach|post\\w+)$",
);
/** So only beside a T1; alone they may be anything. */
const BESIDE_T1 = ["c", "cm", "pc", "plus"];
/** When a picture was taken says nothing about contrast: "T1_post_op". */
const WHEN = new RegExp(
  "(?<![a-z])(?:session|ses|visit|timepoint|tp)[-_ ]?(?:pre|post)?(?![a-z])|(?<![a-z])" +
    "(?:pre|post|peri|intra)[-_ ]?(?:op|operative?|operation|operatory|surg[a-z]*|tx|rt|rx|crt|" +
    "treatment|treat|therapy|radio[a-z]*|radiation|chemo[a-z]*|resection|biopsy)(?![a-z])",
  "g",
);
/** Words, and the signs of "w/o" and "C-", that deny it. */
const DENIED = new RegExp(
  "(?<![a-z0-9])(?:no|non?[a-z]*|not|un|vor|sin|sem|without|wo|w[-_ ]o|ohne|okm|sans|senza|minus|" +
    "native?|plain|unenhanced|before|pre[a-z]*)(?![a-z0-9])|(?<![a-z0-9])-[a-z]|[a-z]-(?=$|[_. ])",
);
/** What is no sequence of ours, whatever else its name says, and T1s named by their method. */
const OTHERS = new Set([
  "dce", "dsc", "perf", "perfusion", "subtraction", "subtracted", "subtr", "phase", "real", "imag",
  "imaginary", "ktrans", "map", "mapping", "t1map", "dwi", "adc", "swi", "asl", "dti", "pd", "pdw",
  "bold", "mra", "tof", "ct", "pet", "mprage", "mpr", "mp2rage", "spgr", "fspgr", "bravo",
]);
/** Drawn, where no sequence is named beside it. */
const DRAWN = /^(?:tumou?rs?|lesions?|glioma?|wt|oedema|edema)/;
/** "FLAIR_to_T1" is a FLAIR that lies on the grid of a T1. */
const TARGET = new RegExp(
  "[-_. ](?:to|in|on|onto|into|space)[-_ ]?(?:t1|t2|flair|mni|sri)[a-z0-9]*|" +
    "(?<![t_. -])2(?:t1|flair|mni)[a-z0-9]*",
  "g",
);

/**
 * Which sequence a file's name says, in the words that nobody can misread.
 *
 * @returns {string|null} "pre", "flair", "post" or "mask"; "other": something else; "unclear": it
 *   can be read in two ways; null: no sequence at all
 */
function kindOf(name) {
  const plain = stemOf(name).toLowerCase().replace(WHEN, "_").replace(TARGET, "_");
  const words = plain.split(/[^a-z0-9]+/);
  const has = (...wanted) => words.some((word) => wanted.includes(word));
  if (has("mask", "seg", "label", "segmentation")) return "mask";
  const last = words.length > 1 ? words[words.length - 1] : "";
  if (words.some((word) => OTHERS.has(word)) || ["ph", "sub"].includes(last)) return "other";
  const flair = has("flair", "t2f", "tirm") || (has("dark") && has("fluid"));
  const t1 = words.filter((word) => word.startsWith("t1"));
  if (flair) return t1.length ? "unclear" : "flair";
  if (words.some((word) => word.startsWith("t2"))) return "other";
  if (!t1.length && words.some((word) => DRAWN.test(word))) return "unclear";
  const post = has("post", "t1ce", "t1c", "t1gd", "t1post");
  const pre = has("pre", "t1n", "t1pre");
  const told = plain.includes("+") || words.some((word) => OF_CONTRAST.test(word));
  if (post) return pre || DENIED.test(plain) ? "unclear" : "post";
  if (pre) return words.some((word) => /^(?:after|nach|post)/.test(word)) ? "unclear" : "pre";
  if (told) return "unclear";
  if (!t1.length) return null;
  const plainly = t1.every((word) => word === "t1" || word === "t1w");
  return plainly && !has(...BESIDE_T1) ? "pre" : "unclear";
}

/** Tell the files of a patient apart by their names: pre, flair and post -> file. */
function tellApart(files) {
  const sources = {};
  for (const file of files) {
    const kind = kindOf(file.name);
    if (kind === "mask") continue;
    if (kind === "other")
      throw new InputError(
        `${file.name}: its name says another sequence than the network knows; leave it out, or ` +
          `${HOW_TO_NAME}.`,
      );
    if (!NAMES[kind])
      throw new InputError(
        `${file.name}: its name does not say for certain which sequence it is; ${HOW_TO_NAME}.`,
      );
    if (sources[kind])
      throw new InputError(
        `${file.name}: a second file for ${NAMES[kind]}, beside ${sources[kind].name}; keep one.`,
      );
    sources[kind] = file;
  }
  if (!sources.flair)
    throw new InputError(`There is no FLAIR, and the tumour is seen there; ${HOW_TO_NAME}.`);
  return sources;
}

/** Refuse a single file whose name says something else than what its volumes are taken as. */
function checkNameSays({ name, volumes }) {
  const kind = kindOf(name);
  if (kind === null || (volumes === 1 ? kind === "flair" : kind === "unclear")) return;
  const said =
    { mask: "mask", other: "another sequence", unclear: "something else" }[kind] ?? NAMES[kind];
  const taken =
    volumes === 1
      ? "a single volume is taken as FLAIR"
      : "its 3 volumes are taken as pre-contrast, FLAIR and post-contrast";
  throw new InputError(
    `${name}: ${taken}, and its name says ${said}; give the FLAIR, or a file for each sequence.`,
  );
}

async function openSequences(files) {
  if (files.length === 1) {
    const file = await readNifti(await files[0].bytes(), files[0].name);
    if (![1, 3].includes(file.volumes))
      throw new InputError(
        `${file.name}: holds ${file.volumes} volumes, 3 are expected (pre-contrast, FLAIR, ` +
          "post-contrast, in this order); keep these, or give a file for each.",
      );
    checkNameSays(file);
    const kinds = file.volumes === 3 ? ["pre", "flair", "post"] : ["flair"];
    const sequences = kinds.map((one, volume) => [one, { file, volume }]);
    return { name: stemOf(file.name), sequences: Object.fromEntries(sequences) };
  }
  const sequences = {};
  for (const [kind, file] of Object.entries(tellApart(files)))
    sequences[kind] = { file: await readNifti(await file.bytes(), file.name), volume: 0 };
  const flair = sequences.flair.file;
  for (const { file } of Object.values(sequences)) checkSameGrid(file, flair);
  const masks = files.length - Object.keys(sequences).length;
  return { name: stemOf(flair.name), sequences, masks };
}

function checkSameGrid(file, flair) {
  if (file.volumes !== 1)
    throw new InputError(`${file.name}: holds ${file.volumes} volumes, one is expected; keep one.`);
  const remedy = "register and resample all sequences to one grid first";
  if (file.shape.join() !== flair.shape.join())
    throw new InputError(
      `${file.name}: has ${file.shape.join(" x ")} voxels, ${flair.name} has ` +
        `${flair.shape.join(" x ")}; ${remedy}.`,
    );
  for (let corner = 0; corner < 8; corner++) {
    const at = [0, 1, 2].map((axis) => ((corner >> axis) & 1) * (flair.shape[axis] - 1));
    const place = ({ affine }) =>
      affine.map((row) => row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3]);
    const [one, other] = [place(file), place(flair)];
    if (Math.hypot(...one.map((mm, axis) => mm - other[axis])) > 0.05)
      throw new InputError(`${file.name}: lies elsewhere in space than ${flair.name}; ${remedy}.`);
  }
}

function checkExtent(name, grid) {
  const [slices, rows, columns] = grid.slices;
  if (slices * rows * columns > MOST_VOXELS)
    throw new InputError(
      `${name}: has ${grid.shape.join(" x ")} voxels, more than this page holds in memory; crop ` +
        "it to the head.",
    );
  if (slices > MOST_SLICES)
    throw new InputError(
      `${name}: has ${slices} axial slices, at most ${MOST_SLICES} are read; crop it to the head.`,
    );
  const [high, wide] = [rows * grid.voxelMm[1], columns * grid.voxelMm[2]];
  if (Math.min(high, wide) < 20 || Math.max(high, wide) > 2000)
    throw new InputError(
      `${name}: its axial slices would measure ${Math.round(wide)} x ${Math.round(high)} mm, which ` +
        "cannot be a head's; put the right voxel size and unit into the header.",
    );
}

function notesOnSpace(file, grid) {
  const notes = notesOnPlacement(file);
  const [, down, across] = grid.voxelMm;
  if (Math.max(across, down) > LONGEST_IN_PLANE_MM)
    notes.push(
      `Voxels are ${across.toFixed(1)} x ${down.toFixed(1)} mm in the axial plane: the volume was ` +
        "acquired in another plane (sagittal or coronal), and its axial slices are blurred; give " +
        "an axial series if there is one.",
    );
  return notes;
}

/** One volume of a file as bytes, plane by plane of the file, in axial slices of the frame. */
function framed({ file, volume }, levels, grid, start) {
  const values = file.values(volume);
  const pixels = file.shape[0] * file.shape[1];
  const bytes = new Uint8Array(values.length);
  for (let z = 0; z < file.shape[2]; z++)
    bytes.set(
      to8Bit(values.subarray(z * pixels, (z + 1) * pixels), file.shape[1], file.shape[0], levels),
      z * pixels,
    );
  return toFrame(toSlices(bytes, grid), grid, start);
}

async function fromNifti(files) {
  const { name, sequences, masks } = await openSequences(files);
  const grid = gridOf(sequences.flair.file);
  checkExtent(sequences.flair.file.name, grid);
  const notes = notesOnSpace(sequences.flair.file, grid);
  if (masks) notes.push(notLookedAt(masks));
  const levels = {};
  for (const [kind, { file, volume }] of Object.entries(sequences)) {
    const data = toSlices(file.values(volume), grid);
    const found = measure({ data, shape: grid.slices }, grid.voxelMm);
    if (!(found.white > found.black)) {
      if (kind === "flair")
        throw new InputError(
          `${file.name}: its FLAIR is empty, every voxel is ${found.white}; export it again.`,
        );
      notes.push(`${NAMES[kind]} is empty: it is left out.`);
      continue;
    }
    if (found.inverted)
      throw new InputError(
        `${file.name}: the air is brighter than the head, its grey levels are inverted; save the ` +
          "largest value minus each value.",
      );
    if (found.noNumber) notes.push(`${NAMES[kind]}: some voxels are no number; they are black.`);
    if (!found.box)
      notes.push(
        `No head could be told from the air around it in the ${NAMES[kind]}: its grey levels are ` +
          "those of all that is not air.",
      );
    levels[kind] = found;
  }
  const box = ["flair", "post", "pre"].map((kind) => levels[kind]?.box).find((one) => one) ?? null;
  const { start, cutMm } = placeFrame(grid, box);
  if (cutMm > CUT_MM)
    notes.push(
      `The ${box ? "head" : "file"} is larger than the frame of 240 mm: up to ` +
        `${Math.round(cutMm)} mm of it are cut off, and nothing is predicted there.`,
    );
  const channels = {};
  for (const kind of ["pre", "flair", "post"])
    if (levels[kind]) channels[kind] = framed(sequences[kind], levels[kind], grid, start);
    else notes.push(`There is no ${NAMES[kind]}: a copy of FLAIR stands in for it.`);
  const slices = grid.slices[0];
  const data = new Uint8Array(slices * FRAME * FRAME * 3);
  ["pre", "flair", "post"].forEach((kind, channel) => {
    const one = channels[kind] ?? channels.flair;
    for (let i = 0; i < one.length; i++) data[i * 3 + channel] = one[i];
  });
  return {
    name, grid, start, notes,
    volume: { data, slices, height: FRAME, width: FRAME },
    occupied: box ? box[0] : undefined,
    spacing: [grid.voxelMm[0], PIXEL_MM, PIXEL_MM],
  };
}

/** The masks of a patient from NIfTI on the grid of the patient's files, x fastest. */
export function masksOnGrid(masks, patient) {
  return fromSlices(fromFrame(masks, patient.grid, patient.start), patient.grid);
}
