// Streams of gzip and deflate, by the browser itself.

async function through(stream, bytes, most) {
  const writer = stream.writable.getWriter();
  // Errors surface where the other end is read.
  writer.write(bytes).catch(() => {});
  writer.close().catch(() => {});
  const pieces = [];
  let length = 0;
  for (const reader = stream.readable.getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) break;
    pieces.push(value);
    length += value.length;
    if (length > most) {
      await reader.cancel();
      throw new RangeError(`more than ${most} bytes`);
    }
  }
  const result = new Uint8Array(length);
  let place = 0;
  for (const piece of pieces) {
    result.set(piece, place);
    place += piece.length;
  }
  return result;
}

/** Unpack "gzip" or "deflate" (zlib) bytes; throws a RangeError beyond `most` bytes. */
export function unpack(bytes, format, most = 2 ** 31) {
  return through(new DecompressionStream(format), bytes, most);
}

/** Pack bytes as "gzip" or "deflate" (zlib). */
export function pack(bytes, format) {
  return through(new CompressionStream(format), bytes, Infinity);
}

export const isGzip = (bytes) => bytes[0] === 0x1f && bytes[1] === 0x8b;
