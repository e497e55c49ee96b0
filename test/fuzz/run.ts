/**
 * The fuzzer by hand:
 *   node dist/test/fuzz/run.js [--seed 1] [--from 0] [--count 20000] [--addon build/native-asan/hundredweight.node]
 * Without --addon the sanitized addon is built first.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageRoot } from "../../src/package-root.js";
import { addressSanitizerLibrary, buildNative } from "../support/native-build.js";
import { describe, fuzz } from "./fuzz.js";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    from: { type: "string", default: "0" },
    count: { type: "string", default: "20000" },
    addon: { type: "string" },
  },
});
if (values.addon === undefined) buildNative(["--sanitize=address,undefined"]);
const preload = addressSanitizerLibrary();
if (preload === undefined) throw new Error("the compiler has no address sanitizer");
const seed = Number(values.seed);
const summary = await fuzz({
  seed,
  from: Number(values.from),
  count: Number(values.count),
  addon: values.addon ?? join(packageRoot(), "build/native-asan/hundredweight.node"),
  preload,
  onProgress: (done, { faults }) => process.stderr.write(`${done} files, ${faults.length} faults\n`),
});
console.log(describe(summary, seed));
process.exitCode = summary.faults.length === 0 ? 0 : 1;
