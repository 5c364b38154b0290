// The page: what is chosen, shown and told. Whatever takes time is done by the worker.

import { drawPlanes, drawProfile, drawSlice, whites } from "./draw.js";
import { hasWebGl2, showInSpace } from "./three_d.js";

const PIXEL_MM = 240 / 256;
const USUAL_DISTANCE_MM = 6;
const AT_WORK = "The network is at work.";
const element = (id) => document.getElementById(id);
const fields = ["sequence-field", "mask-field", "download-field"].map(element);
const worker = new Worker(new URL("../model/worker.js", import.meta.url), { type: "module" });

// What is on the page: the patient, its masks and how they were asked for.
const state = {
  patient: null, masks: null, counts: null, fileVoxels: null, slice: 0, done: null,
  // Masks are asked for one at a time: what is wanted meanwhile is asked for once they are there.
  asking: false, again: false, saving: null,
  chosen: null, // the button of a simulated patient that is being read
};

const send = (message) => worker.postMessage(message);
const say = (text) => {
  element("status").textContent = text;
};
const complain = (text) => {
  element("error").textContent = text;
};
const number = (value, digits = 0) =>
  value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const count = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

// Choosing a patient

function choose(message, button) {
  complain("");
  say("Reading the patient …");
  state.chosen = button;
  send(message);
}

async function offerSimulated() {
  const entries = await (await fetch("patients/patients.json")).json();
  for (const entry of entries) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "patient";
    button.setAttribute("aria-pressed", "false");
    const picture = document.createElement("img");
    picture.src = entry.picture;
    picture.alt = "";
    const name = document.createElement("strong");
    name.textContent = entry.title;
    const told = document.createElement("span");
    told.textContent = `simulated, ${entry.slices} slices`;
    button.append(picture, name, told);
    button.addEventListener("click", () => choose({ type: "simulated", entry }, button));
    element("simulated").append(button);
  }
}

async function tellSizes() {
  const { first, viewer } = await (await fetch("sizes.json")).json();
  element("megabytes").textContent = ` (${number(first / 1e6)} MB)`;
  element("viewer-megabytes").textContent = ` (${number(viewer / 1e6, 1)} MB)`;
}

function takeFiles(files) {
  if (files.length) choose({ type: "open", files: [...files] }, null);
}

element("files").addEventListener("change", (event) => {
  takeFiles(event.target.files);
  event.target.value = ""; // so that the same files can be chosen again
});
for (const kind of ["dragover", "dragleave", "drop"])
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    element("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") takeFiles(event.dataTransfer.files);
  });

// The picture

function channel() {
  return Number(document.querySelector("input[name=sequence]:checked").value);
}

function show() {
  const { patient, slice } = state;
  if (!patient) return;
  const masks = element("shown").checked ? state.masks : null;
  drawSlice(element("slice-canvas"), patient, slice, channel(), masks);
  drawProfile(element("profile"), state.counts, slice);
  element("slice").value = slice + 1;
  element("slice-number").textContent = `${slice + 1} of ${patient.slices}`;
  const sequence = ["pre-contrast T1", "FLAIR", "post-contrast T1"][channel()];
  const said = state.counts ? `, ${count(state.counts[slice], "tumour pixel")}` : "";
  element("slice-canvas").setAttribute(
    "aria-label",
    `${patient.simulated ? "Simulated patient" : "Patient"} ${patient.name}, ${sequence}, slice ` +
      `${slice + 1} of ${patient.slices}${said}`,
  );
  tellNumbers();
}

function goTo(slice) {
  if (!state.patient) return;
  state.slice = Math.min(state.patient.slices - 1, Math.max(0, slice));
  show();
}

element("slice").addEventListener("input", (event) => goTo(Number(event.target.value) - 1));
element("sequence-field").addEventListener("change", show);
element("shown").addEventListener("change", show);
element("stage").addEventListener(
  "wheel",
  (event) => {
    if (!state.patient || !event.target.closest(".picture")) return;
    if (event.ctrlKey || !event.deltaY) return; // who enlarges the page, or scrolls it sideways
    event.preventDefault();
    goTo(state.slice + (event.deltaY > 0 ? 1 : -1));
  },
  { passive: false },
);
document.addEventListener("keydown", (event) => {
  const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
  if (!step || !state.patient || event.target.matches("input, #space-canvas")) return;
  // With these the browser goes back, to an end of the page, or marks text.
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  goTo(state.slice + step);
});
new ResizeObserver(() => drawProfile(element("profile"), state.counts, state.slice)).observe(
  element("stage"),
);

// Numbers

/** The assumed distance of the slices in mm: what is in the field, as far as slices can have it. */
function distance() {
  const { min, max, valueAsNumber } = element("distance");
  if (!Number.isFinite(valueAsNumber)) return USUAL_DISTANCE_MM;
  return Math.min(Number(max), Math.max(Number(min), valueAsNumber));
}

function tellNumbers() {
  const { patient, counts, slice, fileVoxels } = state;
  const set = (id, text) => {
    element(id).textContent = text;
  };
  if (!counts) return ["slice-area", "volume", "tumour-slices"].forEach((id) => set(id, "–"));
  const [deep, row, column] = patient.spacing ?? [distance(), PIXEL_MM, PIXEL_MM];
  const about = patient.spacing ? "" : "about ";
  const area = (counts[slice] * row * column) / 100;
  set("slice-area", `${count(counts[slice], "pixel")}, ${about}${number(area, 1)} cm²`);
  const pixels = counts.reduce((sum, one) => sum + one, 0);
  const ml = fileVoxels === null
    ? (pixels * row * column * deep) / 1000
    : fileVoxels * patient.voxelMl;
  set("volume", `${count(pixels, "pixel")}, ${about}${number(ml, 1)} ml`);
  set("tumour-slices", `${counts.filter((one) => one > 0).length} of ${counts.length}`);
}

// The network

function setBusy(busy) {
  element("segment").disabled = busy || !state.patient;
  element("segment").hidden = busy;
  element("cancel").hidden = !busy;
  element("progress-box").hidden = !busy;
}

function setProgress(value, text) {
  element("progress").value = value;
  element("progress-label").textContent = text;
}

element("segment").addEventListener("click", () => {
  complain("");
  say(AT_WORK);
  setProgress(0, "Getting ready …");
  setBusy(true);
  element("cancel").focus();
  send({ type: "segment" });
});
element("cancel").addEventListener("click", () => send({ type: "cancel" }));

function askForMasks() {
  const threshold = Number(element("threshold").value);
  element("threshold-value").textContent = threshold.toFixed(2);
  state.again = state.asking;
  if (state.asking) return;
  state.asking = true;
  send({ type: "masks", threshold, refined: element("refinement").checked });
}
element("threshold").addEventListener("input", askForMasks);
element("refinement").addEventListener("change", askForMasks);
element("distance").addEventListener("input", tellNumbers);
element("distance").addEventListener("change", (event) => {
  event.target.value = distance(); // the field says with what is reckoned
});

function save(kind) {
  if (state.asking) state.saving = kind;
  else send({ type: "save", kind, slice: state.slice, distance: distance() });
}
element("save-nifti").addEventListener("click", () => save("nifti"));
element("save-zip").addEventListener("click", () => save("zip"));
element("save-png").addEventListener("click", () => save("png"));

// In three dimensions

element("open-3d").addEventListener("click", () => {
  complain("");
  say("The 3-D view is being made.");
  send({ type: "space", distance: distance() });
});

async function showSpace({ flair, mask }) {
  const { patient, masks } = state;
  element("space-view").hidden = false;
  const assumed = patient.spacing ? "" : ` The slices are taken to be ${distance()} mm apart.`;
  const simulated = patient.simulated ? "Simulated. " : "";
  if (hasWebGl2()) {
    const at = middle(masks, patient);
    const shares = [patient.width, patient.height, patient.slices];
    const centre = at && [shares[0] - 1 - at[2], shares[1] - 1 - at[1], at[0]].map(
      (voxel, axis) => (voxel + 0.5) / shares[axis],
    );
    await showInSpace(element("space-canvas"), flair, mask, centre);
    element("space-caption").textContent =
      `${simulated}Drag to turn the volume or move the cross-hairs.${assumed}`;
  } else {
    element("space-view").classList.add("planes");
    const [deep, row] = patient.spacing ?? [distance(), PIXEL_MM];
    const at = [state.slice, patient.height >> 1, patient.width >> 1];
    drawPlanes(element("space-canvas"), patient, masks, middle(masks, patient) ?? at, deep / row);
    element("space-caption").textContent =
      `${simulated}This browser has no WebGL2: three planes instead of a volume.${assumed}`;
  }
  say("The 3-D view is there.");
}

/** The middle of a mask: slice, row, column; null without one. */
function middle(masks, { height, width }) {
  const sums = [0, 0, 0];
  let pixels = 0;
  masks?.forEach((one, i) => {
    if (!one) return;
    sums[0] += Math.floor(i / (height * width));
    sums[1] += Math.floor(i / width) % height;
    sums[2] += i % width;
    pixels += 1;
  });
  return pixels ? sums.map((sum) => Math.round(sum / pixels)) : null;
}

// What the worker tells

function setPatient(patient) {
  patient.whites = whites(patient);
  Object.assign(state, {
    patient, masks: null, counts: null, fileVoxels: null, done: null,
    asking: false, again: false, saving: null, slice: patient.slices >> 1,
  });
  for (const button of document.querySelectorAll(".patient"))
    button.setAttribute("aria-pressed", String(button === state.chosen));
  element("slice").max = patient.slices;
  element("slice").disabled = false;
  element("placeholder").hidden = true;
  element("slice-canvas").hidden = false;
  element("badge").hidden = !patient.simulated;
  element("badge").textContent = "Simulated patient";
  element("sequence-field").disabled = false;
  element("mask-field").disabled = true;
  element("download-field").disabled = true;
  element("open-3d").disabled = false;
  element("distance-row").hidden = Boolean(patient.spacing);
  element("space-view").hidden = true;
  const items = patient.notes.map((note) => {
    const item = document.createElement("li");
    item.textContent = note;
    return item;
  });
  element("notes").replaceChildren(...items);
  setBusy(false);
  show();
  say(`${patient.name}: ${count(patient.slices, "slice")} read.`);
  // What makes a result doubtful is told where nobody can miss it.
  complain(patient.notes.find((note) => note.includes("another plane")) ?? "");
}

function setSegmented({ settings, strength, seconds, threads }) {
  element("threshold").value = settings.threshold;
  element("threshold-hint").textContent =
    "Pixels with at least this probability are tumour; the network's own threshold is " +
    `${settings.threshold.toFixed(2)}.`;
  element("refinement").checked = Boolean(settings.refinement);
  element("refinement-label").textContent = settings.refinement
    ? "Refine by the patient's own grey levels"
    : `Show what a refinement of ${strength} by the patient's own grey levels would do`;
  const each = number(seconds / state.patient.slices, 1);
  state.done = `Done in ${number(seconds)} seconds, ${each} a slice, with ${count(threads, "thread")}.`;
  askForMasks();
}

function setMasks({ masks, fileVoxels }) {
  state.asking = false;
  if (state.again) return askForMasks();
  const { height, width, slices } = state.patient;
  const pixels = height * width;
  const counts = Array.from({ length: slices }, (_, place) => {
    let sum = 0;
    for (let i = place * pixels; i < (place + 1) * pixels; i++) sum += masks[i];
    return sum;
  });
  Object.assign(state, { masks, counts, fileVoxels });
  if (state.saving) save(state.saving);
  state.saving = null;
  if (!state.done) return show();
  // The first masks of this patient.
  setBusy(false);
  fields.forEach((field) => {
    field.disabled = false;
  });
  state.slice = counts.indexOf(Math.max(...counts));
  show();
  say(state.done);
  state.done = null;
  element("segment").focus();
}

function download({ name, bytes, mime }) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: mime }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say(`${name} was saved.`);
}

const megabytes = (bytes) => number(bytes / 1e6, 1);
const ANSWERS = {
  patient: setPatient,
  segmented: setSegmented,
  masks: setMasks,
  file: download,
  space: (message) =>
    showSpace(message).catch((error) => complain(`The 3-D view failed: ${error.message}`)),
  fetching: ({ done, total }) =>
    setProgress(done / total, `Fetching the network: ${megabytes(done)} of ${megabytes(total)} MB`),
  progress: ({ done, total, left }) =>
    setProgress(
      done / total,
      `Slice ${done} of ${total}, about ${count(Math.ceil(left), "second")} left`,
    ),
  stopped: () => {
    setBusy(false);
    say("Stopped.");
    element("segment").focus();
  },
  error: ({ message, during }) => {
    // A file that cannot be read ends nothing else: the network may be at work on another patient.
    if (during === "segment" || during === "masks") {
      Object.assign(state, { asking: false, again: false, saving: null });
      setBusy(false);
    }
    say(element("cancel").hidden ? "" : AT_WORK);
    complain(message);
  },
};
worker.addEventListener("message", ({ data }) => ANSWERS[data.type](data));
worker.addEventListener("error", () =>
  complain("This browser could not start the page's worker; try a current Firefox, Chrome or Safari."),
);
offerSimulated().catch(() => complain("The simulated patients could not be fetched; reload the page."));
tellSizes().catch(() => complain("The page is not whole; reload it."));
