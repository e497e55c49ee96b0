// Freezes the logits of the random models anew: after a change that is meant to change numbers, and never otherwise.
//   node scripts/renew-frozen-logits.mjs NUMERIC_VERSION "why the bits change"     (build first)
// The version has to be higher than that of the file; --add keeps it, and takes up models that are not frozen yet or
// whose tensors are made of other random numbers now.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { freeze, frozenModels, frozenPath, readFrozen } = await import("../dist/test/property/frozen.js");
const { addonStatus } = await import("../dist/src/native/addon.js");

const args = process.argv.slice(2);
const add = args[0] === "--add";
const [version, reason = ""] = add ? [undefined, args[1]] : [Number(args[0]), args[1]];
const old = existsSync(frozenPath) ? readFrozen() : { numericVersion: 0, history: [], models: {} };

function refuse(message) {
  console.error(message);
  process.exit(2);
}
const isa = addonStatus().isas?.at(-1);
if (isa === undefined) refuse(`the native kernels are needed: ${addonStatus().reason}`);
if (reason.trim().length < 20) refuse("say why, in a sentence");
if (!add && !(Number.isSafeInteger(version) && version > old.numericVersion))
  refuse(`the numeric version is ${old.numericVersion}; a new one has to be higher`);

const folder = mkdtempSync(join(tmpdir(), "hundredweight-frozen-"));
const models = {};
try {
  for (const model of frozenModels()) {
    const [hashes] = await freeze(join(folder, "model.gguf"), model, isa);
    const known = old.models[model.name];
    if (add && known?.model === hashes.model && known.logits !== hashes.logits)
      refuse(`${model.name}: its bits have changed; that takes a new numeric version`);
    models[model.name] = hashes;
  }
} finally {
  rmSync(folder, { recursive: true });
}
const numericVersion = add ? old.numericVersion : version;
const history = [...old.history, { numericVersion, reason }];
writeFileSync(frozenPath, `${JSON.stringify({ numericVersion, history, models }, null, 2)}\n`);
console.log(`${Object.keys(models).length} models frozen, numeric version ${numericVersion}`);
