// PNG, read and written without a canvas: no colour profile may touch a grey level.

import { InputError } from "./errors.js";
import { pack, unpack } from "./packing.js";
import { checkSmallest, oneChannel } from "./tiff.js";

const MARK = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const LARGEST_SIDE = 4096;
const CHANNELS = { 0: 1, 2: 3, 4: 2, 6: 4 };

const damaged = (name) => new InputError(`${name}: damaged or cut short; copy it again.`);

export const isPng = (bytes) => MARK.every((byte, place) => bytes[place] === byte);

function unfilter(rows, height, line, depth) {
  const out = new Uint8Array(height * line);
  for (let y = 0; y < height; y++) {
    const kind = rows[y * (line + 1)];
    if (kind > 4) throw new RangeError("PNG filter"); // there are five, from 0 on
    for (let i = 0; i < line; i++) {
      const left = i >= depth ? out[y * line + i - depth] : 0;
      const up = y ? out[(y - 1) * line + i] : 0;
      const corner = y && i >= depth ? out[(y - 1) * line + i - depth] : 0;
      let guess = 0;
      if (kind === 1) guess = left;
      else if (kind === 2) guess = up;
      else if (kind === 3) guess = (left + up) >> 1;
      else if (kind === 4) {
        const [a, b, c] = [up - corner, left - corner, left + up - 2 * corner].map(Math.abs);
        guess = a <= b && a <= c ? left : b <= c ? up : corner;
      }
      out[y * line + i] = (rows[y * (line + 1) + 1 + i] + guess) & 255;
    }
  }
  return out;
}

/** Read a slice as RGB of 8 bits; see readTiff. */
export async function readPng(bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!isPng(bytes) || bytes.length < 33) throw damaged(name);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [bits, kind, interlaced] = [bytes[24], bytes[25], bytes[28]];
  if (!width || !height || Math.max(width, height) > LARGEST_SIDE)
    throw new InputError(
      `${name}: is ${height} x ${width} pixels, at most ${LARGEST_SIDE} x ${LARGEST_SIDE} are read.`,
    );
  if (kind === 0 || kind === 4) throw oneChannel(name);
  const remedy = "save it as plain RGB of 8 bits: pre-contrast, FLAIR, post-contrast";
  if (bits !== 8 || interlaced || kind === 3)
    throw new InputError(`${name}: is not plain RGB of 8 bits; ${remedy}.`);
  if (kind === 6)
    throw new InputError(`${name}: has an alpha channel, three channels are expected; ${remedy}.`);
  checkSmallest(name, height, width);
  const pieces = [];
  for (let place = 8; place + 12 <= bytes.length; ) {
    const length = view.getUint32(place);
    const type = String.fromCharCode(...bytes.subarray(place + 4, place + 8));
    if (place + 12 + length > bytes.length) throw damaged(name);
    if (type === "IDAT") pieces.push(bytes.subarray(place + 8, place + 8 + length));
    place += 12 + length;
  }
  const line = width * CHANNELS[kind];
  try {
    const packed = new Uint8Array(await new Blob(pieces).arrayBuffer());
    const rows = await unpack(packed, "deflate", height * (line + 1));
    if (rows.length < height * (line + 1)) throw new RangeError("short");
    return { data: unfilter(rows, height, line, 3), height, width };
  } catch {
    throw damaged(name);
  }
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** The check sum of PNG and zip. */
export function crc32(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function chunk(type, data) {
  const out = new Uint8Array(12 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set([...type].map((letter) => letter.charCodeAt(0)), 4);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)));
  return out;
}

/** Write a mask of 0 and 1 as a grey PNG of 0 and 255, as utils.predict does. */
export async function writeMaskPng(mask, height, width) {
  const rows = new Uint8Array(height * (width + 1));
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) rows[y * (width + 1) + 1 + x] = mask[y * width + x] * 255;
  const head = new Uint8Array(13);
  new DataView(head.buffer).setUint32(0, width);
  new DataView(head.buffer).setUint32(4, height);
  head[8] = 8;
  const parts = [
    Uint8Array.from(MARK), chunk("IHDR", head), chunk("IDAT", await pack(rows, "deflate")),
    chunk("IEND", new Uint8Array(0)),
  ];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
