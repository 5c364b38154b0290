// A zip archive of files that are packed already.

import { crc32 } from "./png.js";

const UTF8 = 0x800;

function header(signature, central, { name, bytes, crc }, offset) {
  const encoded = new TextEncoder().encode(name);
  const out = new Uint8Array((central ? 46 : 30) + encoded.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, signature, true);
  let place = 4;
  if (central) {
    view.setUint16(place, 20, true);
    place += 2;
  }
  view.setUint16(place, 20, true);
  view.setUint16(place + 2, UTF8, true);
  view.setUint16(place + 8, 0x21, true); // 1 January 1980, the zip format's first day
  view.setUint32(place + 10, crc, true);
  view.setUint32(place + 14, bytes.length, true);
  view.setUint32(place + 18, bytes.length, true);
  view.setUint16(place + 22, encoded.length, true);
  if (central) view.setUint32(42, offset, true);
  out.set(encoded, central ? 46 : 30);
  return out;
}

/** Return the bytes of a zip archive: entries [{name, bytes}], stored as they are. */
export function zip(entries) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const entry of entries) {
    const whole = { ...entry, crc: crc32(entry.bytes) };
    const local = header(0x04034b50, false, whole);
    directory.push(header(0x02014b50, true, whole, offset));
    parts.push(local, entry.bytes);
    offset += local.length + entry.bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new Uint8Array(22);
  const view = new DataView(end.buffer);
  view.setUint32(0, 0x06054b50, true);
  view.setUint16(8, entries.length, true);
  view.setUint16(10, entries.length, true);
  view.setUint32(12, size, true);
  view.setUint32(16, offset, true);
  const all = [...parts, ...directory, end];
  const result = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of all) {
    result.set(part, place);
    place += part.length;
  }
  return result;
}
