/**
 * How long masks and compiling take on a large vocabulary: schemas like those of tools, and values that satisfy them,
 * token by token.
 *
 *   node dist/bench/constraint-masks.js VOCAB.gguf [MORE.gguf ...] [--size 262144] [--rounds 5] [--json FILE]
 *
 * The vocabulary is that of the files together, filled up to --size with pieces that two tokens make. Each round
 * compiles each schema anew and walks through its values; the first warms up and is not counted. Once with the same
 * strings, numbers and patterns in each round, once with others in each. Prints median, 99th percentile and the
 * longest, in microseconds; the same of the least of the rounds at each place, as a pause comes once.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { openCheckpoint } from "../src/containers/index.js";
import { Constraints } from "../src/sampling/constraint/constraint.js";
import type { Constraint } from "../src/sampling/constraint/source.js";
import type { ConstraintTokenizer } from "../src/sampling/constraint/vocabulary.js";
import { createTokenizer } from "../src/tokenizer/index.js";
import { type MaskCase, maskCases, unlike } from "./support/mask-cases.js";
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

/** The pieces and the texts that are walked, packed: what a measurement itself keeps would be collected in it. */
async function prepare(): Promise<{ tokenizer: ConstraintTokenizer; encoded: Map<string, Int32Array> }> {
  const pieces = await piecesOf(paths, Number(values.size));
  const idOf = new Map(pieces.map((piece, id) => [piece.toString("latin1"), id]));
  const encode = (text: string): Int32Array => longestMatch(Buffer.from(text), idOf);
  const encoded = new Map<string, Int32Array>();
  for (let number = 0; number <= Number(values.rounds) + 1; number++) {
    for (const { instances } of number === 0 ? maskCases : unlike(maskCases, number)) {
      for (const instance of instances) encoded.set(JSON.stringify(instance), encode(JSON.stringify(instance)));
    }
  }
  const bytes = Buffer.concat(pieces);
  const ends = Int32Array.from(pieces, ({ length }) => length);
  for (let id = 1; id < ends.length; id++) ends[id]! += ends[id - 1]!;
  const tokenizer: ConstraintTokenizer = {
    size: ends.length + 1,
    pieceBytes: (id) => bytes.subarray(ends[id - 1] ?? 0, ends[id] ?? 0),
    piece: (id) => (id < ends.length ? bytes.toString("utf8", ends[id - 1] ?? 0, ends[id]) : "<end>"),
    tokenKind: (id) => (id < ends.length ? "normal" : "control"),
    endOfGeneration: new Set([ends.length]),
    encode: () => new Int32Array(0),
  };
  return { tokenizer, encoded };
}

function longestMatch(bytes: Buffer, idOf: ReadonlyMap<string, number>): Int32Array {
  const ids: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    let length = Math.min(48, bytes.length - at);
    while (!idOf.has(bytes.toString("latin1", at, at + length))) length--;
    ids.push(idOf.get(bytes.toString("latin1", at, at + length))!);
    at += length;
  }
  return Int32Array.from(ids);
}

const { tokenizer, encoded } = await prepare();
// What was made to prepare goes before anything is measured.
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
collect();
const began = performance.now();
const constraints = new Constraints(tokenizer);
const { vocabulary } = constraints;
const { trie, rest } = vocabulary;
console.log(
  `vocabulary of ${vocabulary.size}: ${trie.nodes} nodes, ${rest.ids.length} tokens beside plain text, ` +
    `${(vocabulary.bytes / 2 ** 20).toFixed(1)} MiB, ${(performance.now() - began).toFixed(0)} ms`,
);

interface Times {
  readonly masks: number[];
  /** Where each round's masks begin in them. */
  readonly rounds: number[];
  readonly again: number[];
  readonly compiles: number[];
  slowest: { readonly micros: number; readonly at: string };
}

/** Each round compiles each schema anew, and its values go through it twice. */
function measure(casesOf: (round: number) => readonly MaskCase[]): Times {
  const times: Times = { masks: [], rounds: [], again: [], compiles: [], slowest: { micros: 0, at: "" } };
  for (let round = 0; round <= Number(values.rounds); round++) {
    if (round > 0) times.rounds.push(times.masks.length);
    for (const { name, schema, instances } of casesOf(round)) {
      // A name of its own for each round: it is compiled anew.
      const constraint: Constraint = { kind: "json_schema", schema: { ...schema, $comment: `${round}` } };
      const start = performance.now();
      constraints.compile(constraint);
      if (round > 0) times.compiles.push(performance.now() - start);
      for (const pass of [times.masks, times.again]) {
        for (const instance of instances)
          walk(name, constraint, JSON.stringify(instance), round > 0 ? pass : [], times);
      }
    }
  }
  return times;
}

function walk(name: string, constraint: Constraint, text: string, pass: number[], times: Times): void {
  const matcher = constraints.matcher(constraint);
  let said = 0;
  const end = tokenizer.size - 1;
  for (const id of [...encoded.get(text)!, end]) {
    const before = performance.now();
    const allowed = matcher.allowed();
    const micros = 1000 * (performance.now() - before);
    pass.push(micros);
    if (pass === times.masks && micros > times.slowest.micros) {
      times.slowest = { micros, at: `${name}: ${text.slice(0, said)}` };
    }
    if (!allowed.has(id)) throw new Error(`${name}: refused behind ${text.slice(0, said)}`);
    if (id < end) matcher.accept(id);
    said += tokenizer.piece(id).length;
  }
}

function report(title: string, unit: string, list: number[]): object {
  if (list.length === 0) return {};
  list.sort((a, b) => a - b);
  const at = (share: number): number => list[Math.min(list.length - 1, Math.floor(share * list.length))]!;
  const figures = { count: list.length, median: at(0.5), p90: at(0.9), p99: at(0.99), longest: list.at(-1)! };
  const shown = Object.entries(figures).map(([key, value]) => `${key} ${key === "count" ? value : value.toFixed(1)}`);
  console.log(`${title} (${unit}): ${shown.join(", ")}`);
  return figures;
}

/** The least of the rounds at each place: pauses of the machine and collections of garbage are no part of it. */
function least({ masks, rounds }: Times): number[] {
  const size = masks.length / rounds.length;
  if (rounds.some((from, round) => from !== round * size)) return []; // rounds of different texts
  return Array.from({ length: size }, (_, place) => Math.min(...rounds.map((from) => masks[from + place]!)));
}

const known = measure(() => maskCases);
const fresh = measure((round) => unlike(maskCases, 1 + round));
// Before reports sort them.
const [knownLeast, freshLeast] = [least(known), least(fresh)];
const document = {
  vocabulary: vocabulary.size,
  masks: report("masks of new schemas, strings and patterns known", "us", known.masks),
  fresh: report("masks of new schemas, everything new", "us", fresh.masks),
  knownLeast: report("  known, the least of the rounds at each place", "us", knownLeast),
  freshLeast: report("  everything new, the least of the rounds at each place", "us", freshLeast),
  again: report("masks met before", "us", known.again),
  compile: report("compile", "ms", [...known.compiles, ...fresh.compiles]),
};
for (const { slowest } of [known, fresh])
  console.log(`slowest: ${slowest.micros.toFixed(0)} us behind ${slowest.at.slice(-200)}`);
saveJson(values.json, document);
