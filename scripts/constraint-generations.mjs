// Generations of a random model under random schemas and grammars, each judged by ajv or an obvious recognizer; build
// first.
//   node scripts/constraint-generations.mjs [COUNT] [SEED] [--served]      default 10000 1
// --served: answers of a server, eight at a time, with stop texts.
import { fileURLToPath } from "node:url";

const rest = process.argv.slice(2);
const served = rest.includes("--served");
const [count = "10000", seed = "1"] = rest.filter((word) => word !== "--served");
const load = (name) => import(fileURLToPath(new URL(`../dist/test/constraint/${name}.js`, import.meta.url)));
const run = served ? (await load("served-generations")).runServed : (await load("random-generations")).runGenerations;
const began = performance.now();
const { generations, ended, stopped, cut, unknown, refused, faults } = await run(Number(count), Number(seed));
for (const fault of faults.slice(0, 20)) console.log(fault);
const seconds = ((performance.now() - began) / 1000).toFixed(0);
console.log(
  `${generations} generations: ${ended} ended, ${stopped === undefined ? "" : `${stopped} stopped by a text, `}` +
    `${cut} cut (${unknown} without an end near), ${faults.length} wrong; ` +
    `${refused} constraints refused; ${seconds} s`,
);
process.exit(faults.length === 0 ? 0 : 1);
