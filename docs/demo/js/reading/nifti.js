// NIfTI: utils.patient.nifti. The header within bounds, the voxels as floats, a mask written.

import { InputError } from "./errors.js";
import { isGzip, pack, unpack } from "./packing.js";

// NIfTI's codes of number types -> bytes, and the reader of a DataView.
const TYPES = {
  2: [1, "getUint8"], 256: [1, "getInt8"], 4: [2, "getInt16"], 512: [2, "getUint16"],
  8: [4, "getInt32"], 768: [4, "getUint32"], 16: [4, "getFloat32"], 64: [8, "getFloat64"],
};
const NATIVE = {
  2: Uint8Array, 256: Int8Array, 4: Int16Array, 512: Uint16Array, 8: Int32Array,
  768: Uint32Array, 16: Float32Array, 64: Float64Array,
};
const UNIT_MM = { 1: 1000, 3: 0.001 };
const VOXEL_MM = [0.05, 30];
const LONGEST_AXIS = 2048;
const MOST_VOXELS = 2 ** 27; // what a browser tab can hold as floats
const LARGEST = 1e30;

// Of 32-bit floats: what rounding may take from the length of a quaternion.
const SLACK = 3 * 2 ** -23;
// Two placements that differ by more are told: utils.patient.grid.
const APART_MM = 1;

const NOT_NIFTI = "is not a NIfTI volume, or only its beginning; copy it again, or convert the " +
  "DICOM series with dcm2niix";

export const isNiftiName = (name) => /\.nii(\.gz)?$/i.test(name);

/** The name of a file without the suffix of NIfTI. */
export const stemOf = (name) => name.replace(/\.nii(\.gz)?$/i, "");

/** The matrix of the quaternion that a header holds, or null where it is none of a turn. */
function quaternAffine(float, pixdim) {
  let [b, c, d] = [float(256), float(260), float(264)];
  const rest = 1 - (b * b + c * c + d * d);
  if (!(rest > -SLACK)) return null;
  const a = rest > 0 ? Math.sqrt(rest) : 0;
  const scale = rest < 0 ? 1 / Math.sqrt(b * b + c * c + d * d) : 1;
  [b, c, d] = [b * scale, c * scale, d * scale];
  const turn = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
  ];
  const side = pixdim[0] === -1 ? -1 : 1;
  const sizes = [pixdim[1], pixdim[2], pixdim[3] * side];
  return turn.map((row, i) => [...row.map((one, j) => one * sizes[j]), float(268 + 4 * i)]);
}

/** Where there is neither sform nor qform: NIfTI's fallback, as nibabel takes it. */
function baseAffine(shape, pixdim) {
  const sizes = [-pixdim[1], pixdim[2], pixdim[3]];
  return [0, 1, 2].map((i) => {
    const row = [0, 0, 0, (-sizes[i] * (shape[i] - 1)) / 2];
    row[i] = sizes[i];
    return row;
  });
}

/**
 * Read a file's header and check it.
 *
 * @returns {object} shape, volumes, affine (3 x 4, in mm), stated, apartMm (by how much sform and
 *   qform disagree), and how the voxels are stored
 */
function readHeader(bytes, name) {
  checkKind(bytes, name);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = view.getInt32(0, true) === 348;
  const float = (place) => view.getFloat32(place, little);
  const short = (place) => view.getInt16(place, little);
  const dimensions = short(40);
  const lengths = Array.from({ length: Math.min(7, Math.max(0, dimensions)) }, (_, i) =>
    short(42 + 2 * i),
  );
  const more = lengths.slice(3).filter((length) => length !== 1);
  if (lengths.length < 3 || more.length > 1 || lengths.some((length) => length < 1))
    throw new InputError(
      `${name}: has the dimensions ${lengths.join(" x ")}; a volume has 3, several on one grid ` +
        "have 4: export it as one.",
    );
  const shape = lengths.slice(0, 3);
  const count = shape[0] * shape[1] * shape[2];
  if (Math.max(...shape) > LONGEST_AXIS || count > MOST_VOXELS)
    throw new InputError(
      `${name}: has ${shape.join(" x ")} voxels, more than this page holds in memory; crop it to ` +
        "the head.",
    );
  const code = short(70);
  if (!TYPES[code])
    throw new InputError(
      `${name}: holds no plain grey values (type ${code}); save it as 16 bit whole numbers or as ` +
        "32 bit floats.",
    );
  // Sizes are positive, whatever stands there, as nibabel mends them: no sign may mirror a head.
  const pixdim = Array.from({ length: 4 }, (_, i) => float(76 + 4 * i));
  for (const i of [1, 2, 3]) pixdim[i] = Math.abs(pixdim[i]) || 1;
  const [qform, sform] = [short(252), short(254)];
  const unit = UNIT_MM[bytes[123] & 7] ?? 1;
  const inMm = (rows) => rows?.map((row) => row.map((one) => one * unit)) ?? null;
  const bySform =
    sform > 0 && inMm([0, 1, 2].map((i) => [0, 1, 2, 3].map((j) => float(280 + 16 * i + 4 * j))));
  const byQform = qform > 0 && inMm(quaternAffine(float, pixdim));
  const affine = bySform || (qform > 0 ? byQform : inMm(baseAffine(shape, pixdim)));
  const offset = float(108) || 352;
  let [slope, inter] = [float(112), float(116)];
  if (!Number.isFinite(slope) || slope === 0) [slope, inter] = [1, 0];
  if (!affine || !(offset >= 352) || !Number.isFinite(inter))
    throw new InputError(`${name}: its header is damaged; copy it again, or export it again.`);
  checkPlacement(name, affine);
  return {
    name, shape, affine, code, little, slope, inter,
    volumes: more[0] ?? 1,
    stated: sform > 0 || qform > 0,
    apartMm: sform > 0 && qform > 0 ? apartMm(shape, bySform, byQform) : 0,
    offset: Math.trunc(offset),
    placing: bytes.slice(0, 348),
  };
}

/** Refuse what is no single file of NIfTI-1, saying what it is. */
function checkKind(bytes, name) {
  const [mark, mark2] = [344, 4].map((at) => String.fromCharCode(...bytes.subarray(at, at + 3)));
  if (mark === "n+1" && bytes.length >= 352) return;
  const other =
    mark === "ni1" || mark2 === "ni2" ? "is the header of a pair" : mark2 === "n+2" && "is NIfTI-2";
  throw new InputError(
    other
      ? `${name}: ${other}, which this page does not read; save it as one file of NIfTI-1.`
      : `${name}: ${NOT_NIFTI}.`,
  );
}

/** By how much two placements put the corners apart: utils.patient.axial.disagreement_mm. */
function apartMm(shape, one, other) {
  if (!other) return Infinity;
  let most = 0;
  for (let corner = 0; corner < 8; corner++) {
    const at = [0, 1, 2].map((axis) => ((corner >> axis) & 1) * (shape[axis] - 1));
    one.forEach((row, i) => {
      const apart = row.map((value, j) => value - other[i][j]);
      most = Math.max(
        most, Math.abs(apart[0] * at[0] + apart[1] * at[1] + apart[2] * at[2] + apart[3]),
      );
    });
  }
  return most;
}

/** What a reader should know about where a file's voxels lie: utils.patient.grid.notes_on_space. */
export function notesOnPlacement({ stated, apartMm: apart }) {
  if (!stated) return ["The file does not say how it is oriented; NIfTI's fallback was taken."];
  if (!(apart > APART_MM)) return [];
  const told = Number.isFinite(apart) ? ` that lie up to ${Math.round(apart)} mm apart` : "";
  return [
    `The header places the voxels in two ways${told}; its sform was taken: check left and right.`,
  ];
}

/** Length of each of the matrix's columns: the edges of a voxel, in mm. */
export const edgesOf = (affine) =>
  [0, 1, 2].map((axis) => Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis]));

export function determinant(m) {
  return (
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
    m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
    m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
  );
}

function checkPlacement(name, affine) {
  const edges = edgesOf(affine);
  const volume = Math.abs(determinant(affine));
  if (!affine.flat().every(Number.isFinite) || !(volume > 0.1 * edges[0] * edges[1] * edges[2]))
    throw new InputError(`${name}: its affine does not place the voxels; export it again.`);
  if (Math.min(...edges) < VOXEL_MM[0] || Math.max(...edges) > VOXEL_MM[1])
    throw new InputError(
      `${name}: its voxels would measure ${edges.map((one) => one.toPrecision(3)).join(" x ")} ` +
        "mm, which cannot be a head's; put the right unit and voxel size into the header.",
    );
}

/**
 * Read a NIfTI file.
 *
 * @param {Uint8Array} bytes as in the file, packed or not
 * @param {string} name
 * @returns {Promise<object>} the header's fields and `values(volume)`: Float32Array, x fastest;
 *   NaN where a value is no number or as large as no scanner's
 */
export async function readNifti(bytes, name) {
  let plain = bytes;
  if (isGzip(bytes)) {
    try {
      plain = await unpack(bytes, "gzip", 2 ** 30);
    } catch (error) {
      const large = error instanceof RangeError;
      throw new InputError(
        large
          ? `${name}: unpacks to more than this page holds in memory; crop it to the head.`
          : `${name}: damaged or cut short; copy it again.`,
      );
    }
  }
  const header = readHeader(plain, name);
  const [size, getter] = TYPES[header.code];
  const count = header.shape[0] * header.shape[1] * header.shape[2];
  const needed = header.offset + count * size * header.volumes;
  if (needed > plain.length)
    throw new InputError(
      `${name}: damaged or cut short (${plain.length} bytes, its header says ${needed}); copy it ` +
        "again.",
    );
  const plane = header.shape[0] * header.shape[1] * size;
  if (plain.length - needed >= Math.max(plane, 4096))
    throw new InputError(
      `${name}: holds ${plain.length - needed} bytes more than its header says; its size is stated ` +
        "wrongly: export it again.",
    );
  const values = (volume) => {
    const start = plain.byteOffset + header.offset + volume * count * size;
    let stored;
    if (header.little && start % size === 0)
      stored = new NATIVE[header.code](plain.buffer, start, count);
    else {
      const view = new DataView(plain.buffer, start);
      stored = { length: count };
      for (let i = 0; i < count; i++) stored[i] = view[getter](i * size, header.little);
    }
    const result = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const value = Math.fround(stored[i] * header.slope + header.inter);
      result[i] = Math.abs(value) < LARGEST ? value : NaN;
    }
    return result;
  };
  return { ...header, values };
}

/**
 * Write a volume of bytes as .nii.gz.
 *
 * @param {Uint8Array} values x fastest
 * @param {number[]} shape x, y, z
 * @param {number[][]} affine 3 x 4, in mm
 * @param {Uint8Array} [like] header of a file whose place in space is to be taken over as it is
 */
export function writeNifti(values, shape, affine, like) {
  return pack(plainNifti(values, shape, affine, like), "gzip");
}

/** As writeNifti, unpacked. */
export function plainNifti(values, shape, affine, like) {
  const bytes = new Uint8Array(352 + values.length);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, 348, true);
  view.setInt16(40, 3, true);
  for (let i = 0; i < 7; i++) view.setInt16(42 + 2 * i, shape[i] ?? 1, true);
  view.setInt16(70, 2, true);
  view.setInt16(72, 8, true);
  view.setFloat32(108, 352, true);
  view.setFloat32(112, 1, true);
  bytes.set([...("n+1")].map((letter) => letter.charCodeAt(0)), 344);
  if (like) {
    const from = new DataView(like.buffer, like.byteOffset);
    const little = from.getInt32(0, true) === 348;
    bytes[123] = like[123];
    for (const place of [252, 254]) view.setInt16(place, from.getInt16(place, little), true);
    const floats = [76, 80, 84, 88];
    for (let place = 256; place < 328; place += 4) floats.push(place);
    for (const place of floats) view.setFloat32(place, from.getFloat32(place, little), true);
  } else {
    bytes[123] = 2;
    view.setFloat32(76, 1, true);
    edgesOf(affine).forEach((edge, axis) => view.setFloat32(80 + 4 * axis, edge, true));
    view.setInt16(254, 2, true);
    affine.flat().forEach((one, place) => view.setFloat32(280 + 4 * place, one, true));
  }
  bytes.set(values, 352);
  return bytes;
}
