// Imports point one way (ARCHITECTURE.md). Fails on an import from a room that is not on the list of the importing one.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../src", import.meta.url));
// "." stands for the files directly in src (errors.ts, package-root.ts), which every room may use.
const allowed = {
  formats: [],
  native: [],
  tokenizer: ["formats"],
  chat: ["formats", "tokenizer"],
  ops: ["formats", "native"],
  kv: ["ops"],
  models: ["formats", "ops"],
  sampling: [],
  weights: ["formats", "native", "models", "ops"],
  engine: ["formats", "models", "ops", "weights", "kv", "sampling", "tokenizer", "chat", "native"],
  compress: ["formats", "models", "ops", "weights", "tokenizer"],
  convert: ["formats", "models", "ops", "weights", "tokenizer"],
  server: ["engine", "chat", "tokenizer", "weights", "sampling", "formats", "models"],
  cli: ["*"],
  ".": ["*"],
};
const roomOf = (file) => {
  const parts = relative(source, file).split(sep);
  return parts.length === 1 ? "." : parts[0];
};

let faults = 0;
for (const name of readdirSync(source, { recursive: true })) {
  const file = join(source, String(name));
  if (!file.endsWith(".ts") || file.endsWith(".test.ts")) continue;
  const room = roomOf(file);
  const rules = allowed[room];
  if (rules === undefined) {
    console.error(`${relative(source, file)}: room '${room}' is not in scripts/check-layers.mjs`);
    faults++;
    continue;
  }
  for (const match of readFileSync(file, "utf8").matchAll(/\bfrom\s+"(\.[^"]+)"|import\(\s*"(\.[^"]+)"/g)) {
    const target = roomOf(resolve(dirname(file), match[1] ?? match[2]));
    if (target === room || target === "." || rules.includes("*") || rules.includes(target)) continue;
    console.error(`src/${relative(source, file)}: '${room}' must not import '${target}'`);
    faults++;
  }
}
process.exit(faults === 0 ? 0 : 1);
