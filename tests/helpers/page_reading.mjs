// What the page of docs/demo makes of files, one line of JSON for each list of paths that stands in
// the JSON on standard input: SHA-256 of the volume and of what a network is shown, or the error.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { prepare } from "../../docs/demo/js/model/views.js";
import { InputError } from "../../docs/demo/js/reading/errors.js";
import { readPatient } from "../../docs/demo/js/reading/patient.js";

const VIEW = { size: 64, greyLevels: "brain_mode", frame: "head" };
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

async function told(paths) {
  const files = await Promise.all(
    paths.map(async (path) => {
      const bytes = new Uint8Array(await readFile(path));
      return { name: basename(path), size: bytes.length, bytes: async () => bytes };
    }),
  );
  const { volume, start, occupied, notes } = await readPatient(files);
  const { images } = prepare(volume, VIEW, occupied);
  return { volume: sha256(volume.data), shown: sha256(Buffer.concat(images)), start, notes };
}

let given = "";
for await (const piece of process.stdin) given += piece;
for (const paths of JSON.parse(given)) {
  const answer = await told(paths).catch((error) => {
    if (!(error instanceof InputError)) throw error;
    return { error: error.message };
  });
  console.log(JSON.stringify(answer));
}
