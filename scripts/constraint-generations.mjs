// Generations of a random model under random schemas and grammars, each judged by ajv or an obvious recognizer; build
// first.
//   node scripts/constraint-generations.mjs [COUNT] [SEED]      default 10000 1
import { fileURLToPath } from "node:url";

const [count = "10000", seed = "1"] = process.argv.slice(2);
const { runGenerations } = await import(
  fileURLToPath(new URL("../dist/test/constraint/random-generations.js", import.meta.url))
);
const began = performance.now();
const { generations, ended, cut, unknown, refused, faults } = runGenerations(Number(count), Number(seed));
for (const fault of faults.slice(0, 20)) console.log(fault);
const seconds = ((performance.now() - began) / 1000).toFixed(0);
console.log(
  `${generations} generations: ${ended} ended, ${cut} cut (${unknown} without an end near), ${faults.length} wrong; ` +
    `${refused} constraints refused; ${seconds} s`,
);
process.exit(faults.length === 0 ? 0 : 1);
