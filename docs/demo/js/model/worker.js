// Everything that takes time, beside the page: reading files, the network, masks, downloads.

import { InputError } from "../reading/errors.js";
import { plainNifti, writeNifti } from "../reading/nifti.js";
import { masksOnGrid, readPatient } from "../reading/patient.js";
import { canonicalAffine, toCanonical } from "../reading/canonical.js";
import { writeMaskPng } from "../reading/png.js";
import { zip } from "../reading/zip.js";
import { postprocess, refine } from "./masks.js";
import { fetchSegmenter } from "./segmenter.js";
import { arrange, flairOf, prepare } from "./views.js";

const REFINEMENT = 0.8; // what the switch shows where the settings have none

let segmenter = null; // {session, settings}, fetched once
let patient = null;
let prepared = null; // {images, square, flair, maps}
let masks = null;
// Numbers of what was opened and of what is shown, so that what comes late is thrown away.
let opened = 0;
let current = 0;
let cancelled = false;

const site = (path) => new URL(`../../${path}`, import.meta.url);
const pause = () => new Promise((resolve) => setTimeout(resolve));
const tell = (message, transfer = []) => postMessage(message, transfer);

async function open(files) {
  const given = files.map((file) => ({
    name: file.name, size: file.size,
    bytes: async () => new Uint8Array(await file.arrayBuffer()),
  }));
  return readPatient(given);
}

/** The pixels of a lossless picture without a colour profile: a canvas gives them as they are. */
async function pixelsOf(blob, width, height) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const picture = await createImageBitmap(blob, options);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++)
    for (let c = 0; c < 3; c++) pixels[i * 3 + c] = data[i * 4 + c];
  return pixels;
}

async function openSimulated({ file, name, slices, height, width }) {
  const answer = await fetch(site(file));
  if (!answer.ok) throw new InputError(`${name}: could not be fetched from this site; try again.`);
  const data = await pixelsOf(await answer.blob(), width, slices * height);
  const notes = ["Simulated: real anatomy, and a tumour that was computed."];
  return {
    name, simulated: true, grid: null, start: null, spacing: null, notes,
    volume: { data, slices, height, width },
  };
}

async function show(reading) {
  const own = ++opened;
  const found = await reading;
  if (own !== opened) return;
  current = own;
  cancelled = true;
  [patient, prepared, masks] = [found, null, null];
  const { name, volume, notes, spacing, grid, simulated } = found;
  tell({
    type: "patient", name, notes, spacing, simulated: Boolean(simulated),
    voxelMl: grid?.voxelMl ?? null,
    slices: volume.slices, height: volume.height, width: volume.width, data: volume.data.slice(),
  });
}

async function segment() {
  cancelled = false;
  const own = current;
  const stopped = () => cancelled || own !== current;
  // Where another patient came in between, nobody waits for an answer.
  const stop = () => own === current && tell({ type: "stopped" });
  segmenter ??= await fetchSegmenter(site, (done, total) =>
    tell({ type: "fetching", done, total }),
  );
  const { settings, run } = segmenter;
  if (stopped()) return stop();
  const view = { size: settings.size, greyLevels: settings.grey_levels, frame: settings.frame };
  const made = prepare(patient.volume, view, patient.occupied);
  const maps = [];
  const begun = performance.now();
  for (let place = 0; place < made.images.length; place++) {
    maps.push(await run(arrange(made.images, place, settings.channels)));
    await pause(); // in which a wish to stop comes through
    if (stopped()) return stop();
    const seconds = (performance.now() - begun) / 1000;
    const left = (seconds / maps.length) * (made.images.length - maps.length);
    tell({ type: "progress", done: maps.length, total: made.images.length, left, seconds });
  }
  prepared = { ...made, maps, flair: flairOf(made.images) };
  tell({
    type: "segmented", settings: settings.postprocessing,
    strength: settings.postprocessing.refinement || REFINEMENT,
    seconds: (performance.now() - begun) / 1000, threads: segmenter.threads,
  });
}

function makeMasks({ threshold, refined }) {
  if (!prepared) return;
  const { settings } = segmenter;
  const chosen = { ...settings.postprocessing, threshold };
  const strength = settings.postprocessing.refinement || REFINEMENT;
  if (refined) prepared.refined ??= refine(prepared.maps, prepared.flair, settings.size, strength);
  const maps = refined ? prepared.refined : prepared.maps;
  const { height, width } = patient.volume;
  masks = postprocess(maps, settings.size, chosen, [height, width], prepared.square);
  let fileVoxels = null;
  if (patient.grid) {
    const own = masksOnGrid(masks, patient);
    fileVoxels = own.reduce((sum, one) => sum + one, 0);
  }
  tell({ type: "masks", masks: masks.slice(), fileVoxels });
}

async function save({ kind, slice, distance }) {
  const { name, volume, grid } = patient;
  const pixels = volume.height * volume.width;
  const one = (place) => masks.subarray(place * pixels, (place + 1) * pixels);
  const png = (place) => writeMaskPng(one(place), volume.height, volume.width);
  const called = (place) => `${name}_${place + 1}_mask.png`;
  if (kind === "png")
    return tell({ type: "file", name: called(slice), bytes: await png(slice), mime: "image/png" });
  if (kind === "zip") {
    const entries = [];
    for (let place = 0; place < volume.slices; place++)
      entries.push({ name: called(place), bytes: await png(place) });
    return tell({
      type: "file", name: `${name}_masks.zip`, bytes: zip(entries), mime: "application/zip",
    });
  }
  const bytes = grid
    ? await writeNifti(masksOnGrid(masks, patient), grid.shape, grid.affine, grid.placing)
    : await writeNifti(...inSpace(masks, distance));
  tell({ type: "file", name: `${name}_mask.nii.gz`, bytes, mime: "application/gzip" });
}

/** Slices of bytes as values, shape and affine of a volume with the usual axes. */
function inSpace(slices, distance) {
  const { volume, spacing } = patient;
  const shape = [volume.slices, volume.height, volume.width];
  const affine = canonicalAffine(shape, spacing ?? [distance, null, null]);
  return [toCanonical(slices, shape), [shape[2], shape[1], shape[0]], affine];
}

function space({ distance }) {
  const pixels = volumeFlair(patient.volume);
  tell({
    type: "space",
    flair: plainNifti(...inSpace(pixels, distance)),
    mask: masks ? plainNifti(...inSpace(masks, distance)) : null,
  });
}

function volumeFlair({ data }) {
  const flair = new Uint8Array(data.length / 3);
  for (let i = 0; i < flair.length; i++) flair[i] = data[i * 3 + 1];
  return flair;
}

const TASKS = {
  open: ({ files }) => show(open(files)),
  simulated: ({ entry }) => show(openSimulated(entry)),
  segment, masks: makeMasks, save, space,
  cancel: () => {
    cancelled = true;
  },
};

onmessage = async ({ data }) => {
  try {
    await TASKS[data.type](data);
  } catch (error) {
    // What is no mistake in the input is told as it is: nobody reads a worker's console.
    const message = error instanceof InputError ? error.message : `The page failed: ${error.message}`;
    tell({ type: "error", message, during: data.type });
  }
};
