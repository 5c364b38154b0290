// A slice as TIFF: utils.cohort.tiff, for the ways in which slices are stored in practice
// (strips or tiles; uncompressed, LZW, deflate or PackBits; with or without a predictor).

import { InputError } from "./errors.js";
import { unpack } from "./packing.js";

const SMALLEST_SIDE = 32;
const LARGEST_SIDE = 4096;
const WHOLE = { 1: 1, 3: 2, 4: 4 };
const [UNCOMPRESSED, LZW, DEFLATE, PACKBITS, OLD_DEFLATE] = [1, 5, 8, 32773, 32946];
const NAMES = { 7: "JPEG", 34925: "LZMA", 50000: "Zstandard" };
const WANTED = "save it as plain RGB: pre-contrast, FLAIR, post-contrast";

const damaged = (name, why) =>
  new InputError(`${name}: damaged or cut short (${why}); copy it again.`);

function readTags(bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const order = String.fromCharCode(bytes[0], bytes[1]);
  const little = order === "II";
  if (bytes.length < 8 || (!little && order !== "MM") || view.getUint16(2, little) !== 42)
    throw new InputError(`${name}: is not a picture in TIFF; export the slice as TIFF or PNG.`);
  const table = view.getUint32(4, little);
  if (table < 8 || table + 2 > bytes.length) throw damaged(name, "its tags lie outside the file");
  const count = view.getUint16(table, little);
  const end = table + 2 + 12 * count;
  if (end > bytes.length) throw damaged(name, "its tags lie outside the file");
  const tags = new Map();
  for (let i = 0; i < count; i++) {
    const entry = table + 2 + 12 * i;
    const size = WHOLE[view.getUint16(entry + 2, little)];
    const number = view.getUint32(entry + 4, little);
    if (!size) continue;
    const place = number * size <= 4 ? entry + 8 : view.getUint32(entry + 8, little);
    if (place + number * size > bytes.length) throw damaged(name, "a tag lies outside the file");
    tags.set(
      view.getUint16(entry, little),
      Array.from({ length: number }, (_, n) => {
        const at = place + n * size;
        if (size === 1) return view.getUint8(at);
        return size === 2 ? view.getUint16(at, little) : view.getUint32(at, little);
      }),
    );
  }
  if (end + 4 <= bytes.length && view.getUint32(end, little))
    throw new InputError(
      `${name}: holds several pictures, one is expected; save every slice as a file of its own.`,
    );
  return tags;
}

/** Check what the tags mean, and return it in words; whatever has two meanings is refused. */
function understand(tags, name) {
  const value = (code, usual) => tags.get(code)?.[0] ?? usual;
  const [width, height] = [value(256, 0), value(257, 0)];
  if (!width || !height) throw damaged(name, "it has no size");
  if (Math.max(width, height) > LARGEST_SIDE)
    throw new InputError(
      `${name}: is ${height} x ${width} pixels, at most ${LARGEST_SIDE} x ${LARGEST_SIDE} are ` +
        "read; export the slice as the scanner made it.",
    );
  const samples = value(277, 1);
  const other = (tags.get(258) ?? [1]).find((bits) => bits !== 8);
  const signed = (tags.get(339) ?? [1]).some((format) => format !== 1);
  if (other !== undefined || signed)
    throw new InputError(
      `${name}: has ${other ? `${other} bit` : "signed"} pixels, 8 bit without a sign are ` +
        "expected; scale them to 0..255 and save again.",
    );
  if (samples < 3) throw oneChannel(name);
  if (samples > 3)
    throw new InputError(`${name}: has ${samples} channels, three are expected; ${WANTED}.`);
  if ((tags.get(338) ?? []).some((kind) => kind === 1 || kind === 2))
    throw new InputError(
      `${name}: has an alpha channel among its three, so no post-contrast; ${WANTED}.`,
    );
  const photometric = value(262, -1);
  if (photometric !== 2 && photometric !== 1)
    throw new InputError(
      `${name}: is stored in colours that are not read (photometric interpretation ` +
        `${photometric}); ${WANTED}.`,
    );
  const compression = value(259, UNCOMPRESSED);
  if (![UNCOMPRESSED, LZW, DEFLATE, PACKBITS, OLD_DEFLATE].includes(compression))
    throw new InputError(
      `${name}: its compression (${NAMES[compression] ?? compression}) is not read here; save it ` +
        "without compression, or with LZW.",
    );
  const upright = value(274, 1);
  if (upright < 1 || upright > 8 || value(266, 1) !== 1 || ![1, 2].includes(value(317, 1)))
    throw new InputError(`${name}: is stored in a way that programs read differently; ${WANTED}.`);
  const tiled = tags.has(324);
  return {
    width, height, samples, compression, upright, tiled,
    planar: value(284, 1) === 2,
    predictor: value(317, 1) === 2,
    rows: tiled ? value(323, 0) : Math.min(value(278, height), height),
    columns: tiled ? value(322, 0) : width,
    offsets: tags.get(tiled ? 324 : 273) ?? [],
    counts: tags.get(tiled ? 325 : 279) ?? [],
  };
}

/** The sentence about a picture of one channel. */
export function oneChannel(name) {
  return new InputError(
    `${name}: has one channel, a slice has three (pre-contrast, FLAIR, post-contrast); stack the ` +
      "three sequences, and put FLAIR in place of a missing one.",
  );
}

/** The sentence about a picture that is too small. */
export function checkSmallest(name, height, width) {
  if (Math.min(height, width) < SMALLEST_SIDE)
    throw new InputError(
      `${name}: is ${height} x ${width} pixels, at least ${SMALLEST_SIDE} x ${SMALLEST_SIDE} are ` +
        "needed; export the slice at its full size.",
    );
}

function unpackLzw(bytes, length) {
  const out = new Uint8Array(length);
  const [starts, sizes] = [new Int32Array(4097), new Int32Array(4097)];
  let [place, bits, buffer, next, width, previous, written] = [0, 0, 0, 258, 9, -1, 0];
  while (written < length) {
    while (bits < width && place < bytes.length) {
      buffer = ((buffer << 8) | bytes[place++]) >>> 0;
      bits += 8;
    }
    if (bits < width) break;
    const code = (buffer >>> (bits - width)) & ((1 << width) - 1);
    bits -= width;
    buffer &= (1 << bits) - 1;
    if (code === 257) break;
    if (code === 256) {
      [next, width, previous] = [258, 9, -1];
      continue;
    }
    const begin = written;
    if (code < 256) out[written++] = code;
    else {
      if (previous < 0 || code > next) throw new RangeError("LZW");
      // The entry made last is the string before it and this string's first byte, which lies
      // behind that one in what was written.
      const from = code < next ? starts[code] : previous;
      const size = code < next ? sizes[code] : begin - previous + 1;
      for (let i = 0; i < size && written < length; i++) out[written++] = out[from + i];
    }
    if (previous >= 0 && next < 4096) {
      starts[next] = previous;
      sizes[next] = begin - previous + 1;
      next += 1;
    }
    previous = begin;
    if (next + 1 >= 1 << width && width < 12) width += 1;
  }
  if (written < length) throw new RangeError("LZW");
  return out;
}

function unpackBits(bytes, length) {
  const out = new Uint8Array(length);
  let [place, written] = [0, 0];
  while (written < length) {
    const head = bytes[place++];
    if (head === 128) continue;
    const size = Math.min(head < 128 ? head + 1 : 257 - head, length - written);
    const taken = head < 128 ? size : 1;
    // What is not there would be read as black.
    if (!(place + taken <= bytes.length)) throw new RangeError("PackBits");
    if (head < 128) out.set(bytes.subarray(place, place + size), written);
    else out.fill(bytes[place], written, written + size);
    place += head < 128 ? head + 1 : 1;
    written += size;
  }
  return out;
}

async function unpacked(bytes, compression, length) {
  if (compression === UNCOMPRESSED) return bytes;
  if (compression === LZW) return unpackLzw(bytes, length);
  if (compression === PACKBITS) return unpackBits(bytes, length);
  return unpack(bytes, "deflate", length + (1 << 16));
}

/** The pixels as they are stored, height x width x 3. */
async function storedPixels(bytes, header, name) {
  const { width, height, samples, planar, rows, columns } = header;
  const result = new Uint8Array(height * width * samples);
  const across = Math.ceil(width / columns);
  const down = Math.ceil(height / rows);
  const planes = planar ? samples : 1;
  const depth = samples / planes;
  if (!rows || !columns || header.offsets.length !== across * down * planes)
    throw damaged(name, "its strips or tiles are not all there");
  for (const [number, offset] of header.offsets.entries()) {
    const plane = Math.floor(number / (across * down));
    const top = (Math.floor(number / across) % down) * rows;
    const left = (number % across) * columns;
    const high = header.tiled ? rows : Math.min(rows, height - top);
    const needed = high * columns * depth;
    const count = header.counts[number] ?? needed;
    if (offset < 8 || offset + count > bytes.length)
      throw damaged(name, `${bytes.length} bytes where ${offset + count} are needed`);
    let piece;
    try {
      piece = await unpacked(bytes.subarray(offset, offset + count), header.compression, needed);
    } catch {
      throw damaged(name, "its pixels cannot be unpacked");
    }
    if (piece.length < needed) throw damaged(name, "fewer pixels than its header says");
    if (header.predictor && header.compression !== UNCOMPRESSED)
      for (let row = 0; row < high; row++)
        for (let i = row * columns * depth + depth; i < (row + 1) * columns * depth; i++)
          piece[i] = (piece[i] + piece[i - depth]) & 255;
    for (let y = 0; y < high && top + y < height; y++)
      for (let x = 0; x < columns && left + x < width; x++)
        for (let c = 0; c < depth; c++)
          result[((top + y) * width + left + x) * samples + plane * (planar ? 1 : 0) + c] =
            piece[(y * columns + x) * depth + c];
  }
  return result;
}

/** Bring pixels upright, by the orientation tag. */
function turned(stored, { height, width, upright }) {
  if (upright === 1) return { data: stored, height, width };
  const swapped = upright >= 5;
  const [high, wide] = swapped ? [width, height] : [height, width];
  const data = new Uint8Array(stored.length);
  for (let y = 0; y < high; y++)
    for (let x = 0; x < wide; x++) {
      let [row, column] = swapped ? [x, y] : [y, x];
      if ([3, 4, 6, 7].includes(upright)) row = height - 1 - row;
      if ([2, 3, 7, 8].includes(upright)) column = width - 1 - column;
      for (let c = 0; c < 3; c++)
        data[(y * wide + x) * 3 + c] = stored[(row * width + column) * 3 + c];
    }
  return { data, height: high, width: wide };
}

/**
 * Read a slice.
 *
 * @param {Uint8Array} bytes the file
 * @param {string} name for messages
 * @returns {Promise<{data: Uint8Array, height: number, width: number}>} height x width x 3
 */
export async function readTiff(bytes, name) {
  const header = understand(readTags(bytes, name), name);
  checkSmallest(name, header.height, header.width);
  return turned(await storedPixels(bytes, header, name), header);
}
