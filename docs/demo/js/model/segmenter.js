// The network, fetched from this site and run by onnxruntime-web.

import * as ort from "../../vendor/ort.wasm.min.mjs";
import { InputError } from "../reading/errors.js";

const MOST_THREADS = 4;

async function fetched(address) {
  const answer = await fetch(address).catch(() => null);
  if (!answer?.ok)
    throw new InputError("The network could not be fetched from this site; try again.");
  return answer;
}

/** Fetch and unpack a .gz file; `report` is told how many of its bytes have come. */
async function fetchPacked(address, report = () => {}) {
  const { body } = await fetched(address);
  let done = 0;
  const counted = new TransformStream({
    transform(piece, controller) {
      done += piece.length;
      report(done);
      controller.enqueue(piece);
    },
  });
  const unpacked = body.pipeThrough(counted).pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

/** Put the even and the odd bytes of a file, which are packed one after the other, back in turns. */
function inTurns(bytes) {
  const result = new Uint8Array(bytes.length);
  const half = (bytes.length + 1) >> 1;
  for (let i = 0; i < half; i++) result[2 * i] = bytes[i];
  for (let i = half; i < bytes.length; i++) result[2 * (i - half) + 1] = bytes[i];
  return result;
}

/**
 * Return the network and what was decided with it.
 *
 * @param {(path: string) => URL} site where a file of this page lies
 * @param {(done: number, total: number) => void} report bytes of the network that have come
 * @returns {Promise<{settings: object, threads: number,
 *   run: (picture: Float32Array) => Promise<Float32Array>}>} `run` gives one slice's map
 */
export async function fetchSegmenter(site, report) {
  const settings = await (await fetched(site("model/segmenter.json"))).json();
  const [packed, runtime] = await Promise.all([
    fetchPacked(site("model/segmenter.onnx.gz"), (done) => report(done, settings.packed_bytes)),
    fetchPacked(site("vendor/ort-wasm-simd-threaded.wasm.gz")),
  ]);
  // Several threads need memory that is shared, which a page gets only if it is isolated.
  const threads = self.crossOriginIsolated
    ? Math.min(MOST_THREADS, navigator.hardwareConcurrency ?? 1)
    : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = site("vendor/").href;
  ort.env.wasm.wasmBinary = runtime.buffer;
  const session = await ort.InferenceSession.create(inTurns(packed), { executionProviders: ["wasm"] });
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  const { size } = settings;
  const run = async (picture) => {
    const shape = [1, size, size, picture.length / (size * size)];
    const given = new ort.Tensor("float32", picture, shape);
    const answer = await session.run({ [input]: given });
    const map = Float32Array.from(answer[output].data);
    given.dispose();
    answer[output].dispose();
    return map;
  };
  return { settings, threads, run };
}
