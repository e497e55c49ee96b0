/**
 * How long masks and compiling take on a large vocabulary: schemas like those of tools, and values that satisfy them,
 * token by token.
 *
 *   node dist/bench/constraint-masks.js VOCAB.gguf [MORE.gguf ...] [--size 262144] [--rounds 5] [--json FILE]
 *
 * The vocabulary is that of the files together, filled up to --size with pieces that two tokens make. Each round
 * compiles each schema anew and walks through its values; the first warms up and is not counted. Prints median, 99th
 * percentile and the longest, in microseconds.
 */
import { openCheckpoint } from "../src/formats/index.js";
import { Constraints } from "../src/sampling/constraint/constraint.js";
import type { Constraint } from "../src/sampling/constraint/source.js";
import type { ConstraintTokenizer } from "../src/sampling/constraint/vocabulary.js";
import { createTokenizer } from "../src/tokenizer/index.js";
import { maskCases } from "./support/mask-cases.js";
import { readArguments, saveJson } from "./support/program.js";

const { values, paths } = readArguments("constraint-masks VOCAB.gguf [MORE.gguf ...] [--size 262144] [--rounds 5]", {
  size: { type: "string", default: "262144" },
  rounds: { type: "string", default: "5" },
  json: { type: "string" },
});

/** Pieces of all files, each once; the last id ends an answer. */
async function piecesOf(files: readonly string[], size: number): Promise<Buffer[]> {
  const pieces = new Map<string, Buffer>();
  const add = (bytes: Uint8Array): void => {
    if (bytes.length > 0 && bytes.length <= 48 && pieces.size < size - 1) {
      pieces.set(Buffer.from(bytes).toString("latin1"), Buffer.from(bytes));
    }
  };
  for (let byte = 0; byte < 256; byte++) add(Uint8Array.of(byte));
  for (const file of files) {
    const tokenizer = createTokenizer((await openCheckpoint(file)).metadata);
    for (let id = 0; id < tokenizer.size; id++) add(tokenizer.pieceBytes(id));
  }
  const known = [...pieces.values()];
  console.log(`${known.length} pieces of ${files.length} files`);
  for (let i = 0; pieces.size < size - 1; i++) {
    // Each round over the known pieces puts another one behind them.
    const second = i * 104729 + 31 * Math.floor(i / known.length);
    add(Buffer.concat([known[(i * 7919) % known.length]!, known[second % known.length]!]));
  }
  return [...pieces.values()];
}

const pieces = await piecesOf(paths, Number(values.size));
const idOf = new Map(pieces.map((piece, id) => [piece.toString("latin1"), id]));
const tokenizer: ConstraintTokenizer = {
  size: pieces.length + 1,
  pieceBytes: (id) => pieces[id] ?? new Uint8Array(0),
  piece: (id) => pieces[id]?.toString() ?? "<end>",
  tokenKind: (id) => (id < pieces.length ? "normal" : "control"),
  endOfGeneration: new Set([pieces.length]),
  encode: (text) => Int32Array.from(longestMatch(Buffer.from(text))),
};

function longestMatch(bytes: Buffer): number[] {
  const ids: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    let length = Math.min(48, bytes.length - at);
    while (!idOf.has(bytes.toString("latin1", at, at + length))) length--;
    ids.push(idOf.get(bytes.toString("latin1", at, at + length))!);
    at += length;
  }
  return ids;
}

const began = performance.now();
const { vocabulary } = new Constraints(tokenizer);
const { trie, rest } = vocabulary;
console.log(
  `vocabulary of ${vocabulary.size}: ${trie.nodes} nodes, ${rest.ids.length} tokens beside plain text, ` +
    `${(vocabulary.bytes / 2 ** 20).toFixed(1)} MiB, ${(performance.now() - began).toFixed(0)} ms`,
);

const masks: number[] = [];
const again: number[] = [];
const compiles: number[] = [];
let slowest = { micros: 0, at: "" };
const rounds = Number(values.rounds);
const constraints = new Constraints(tokenizer);
constraints.vocabulary;
for (let round = 0; round <= rounds; round++) {
  for (const { name, schema, instances } of maskCases) {
    // A name of its own for each round: it is compiled anew.
    const constraint: Constraint = { kind: "json_schema", schema: { ...schema, $comment: `${round}` } };
    const start = performance.now();
    constraints.compile(constraint);
    if (round > 0) compiles.push(performance.now() - start);
    for (const pass of [masks, again]) {
      for (const instance of instances) {
        const matcher = constraints.matcher(constraint);
        const text = JSON.stringify(instance);
        let said = 0;
        for (const id of [...tokenizer.encode(text), pieces.length]) {
          const before = performance.now();
          const { bits } = matcher.allowed();
          const micros = 1000 * (performance.now() - before);
          if (round > 0) pass.push(micros);
          if (round > 0 && micros > slowest.micros) slowest = { micros, at: `${name}: ${text.slice(0, said)}` };
          if (((bits[id >> 5]! >>> (id & 31)) & 1) === 0)
            throw new Error(`${name}: refused behind ${text.slice(0, said)}`);
          if (id < pieces.length) matcher.accept(id);
          said += pieces[id]?.toString().length ?? 0;
        }
      }
    }
  }
}

function report(title: string, unit: string, list: number[]): object {
  list.sort((a, b) => a - b);
  const at = (share: number): number => list[Math.min(list.length - 1, Math.floor(share * list.length))]!;
  const figures = { count: list.length, median: at(0.5), p90: at(0.9), p99: at(0.99), longest: list.at(-1)! };
  const shown = Object.entries(figures).map(([key, value]) => `${key} ${key === "count" ? value : value.toFixed(1)}`);
  console.log(`${title} (${unit}): ${shown.join(", ")}`);
  return figures;
}

const document = {
  vocabulary: vocabulary.size,
  masks: report("masks, each schema new", "us", masks),
  again: report("masks, met before", "us", again),
  compile: report("compile", "ms", compiles),
};
console.log(`slowest: ${slowest.micros.toFixed(0)} us behind ${slowest.at.slice(-200)}`);
saveJson(values.json, document);
