/**
 * Opens damaged models one after the other, in a process that may die of it. Two lines to stdout for each:
 *   > NUMBER                          before
 *   NUMBER OUTCOME MS KIB             after: `ok`, an error code, or `FAULT`; growth of the peak memory
 *   child SEED FROM TO
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint } from "../../src/containers/index.js";
import { stateOptions } from "../../src/engine/parts.js";
import { HundredweightError } from "../../src/errors.js";
import { describeModel } from "../../src/models/index.js";
import { requireAddon } from "../../src/native/addon.js";
import type { KvCacheType } from "../../src/ops/ops.js";
import { StateCache } from "../../src/state/cache.js";
import { createStreamDecoder, createTokenizer, type Tokenizer } from "../../src/tokenizer/index.js";
import { bindPlaced, placements } from "../support/placements.js";
import { makeBases, shardName } from "./bases.js";
import { type DamagedModel, damagedModel } from "./damage.js";
import { Dice } from "./dice.js";

const [seed = 1, from = 0, to = 0] = process.argv.slice(2).map(Number);
const text = "the  cat's 123 ÄÖ 世界\n\t🙂 and\u0000 the <|end|> </s> of  ";
/** Codes that say that we are at fault, not the file. */
const faults = new Set(["INTERNAL", "NATIVE_ARGUMENT", "NATIVE_UNAVAILABLE"]);
const linux = process.platform === "linux";

async function main(): Promise<void> {
  const isas = requireAddon().isas();
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-fuzz-"));
  try {
    const bases = await makeBases(folder);
    for (let number = from; number < to; number++) {
      const model = damagedModel(bases, seed, number);
      const path = write(folder, model);
      writeSync(1, `> ${number}\n`);
      const peak = startPeak();
      const began = performance.now();
      const outcome = await outcomeOf(path, new Dice(seed, `use ${number}`), isas, model);
      writeSync(1, `${number} ${outcome} ${(performance.now() - began).toFixed(1)} ${peak()}\n`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function write(folder: string, { files }: DamagedModel): string {
  const paths = files.length === 1 ? [join(folder, "model.gguf")] : files.map((_, i) => join(folder, shardName(i)));
  for (const [i, bytes] of files.entries()) {
    rmSync(paths[i]!, { force: true });
    if (bytes !== undefined) writeFileSync(paths[i]!, bytes);
  }
  return paths[0]!;
}

async function outcomeOf(path: string, d: Dice, isas: string[], model: DamagedModel): Promise<string> {
  try {
    await use(path, d, isas);
    return "ok";
  } catch (error) {
    if (error instanceof HundredweightError && !faults.has(error.code)) return error.code;
    process.stderr.write(`${model.what}: ${error instanceof Error ? error.stack : String(error)}\n`);
    return "FAULT";
  }
}

/** Does with a file what the engine does, and reads everything that `inspect` and `tokenize` read. */
async function use(path: string, d: Dice, isas: string[]): Promise<void> {
  const checkpoint = await openCheckpoint(path);
  for (const key of checkpoint.metadata.keys()) checkpoint.metadata.get(key);
  // A file without a usable tokenizer still gives logits of ids; its error counts when nothing worse follows.
  let fault: unknown;
  let ids: Int32Array = Int32Array.of();
  try {
    ids = useTokenizer(createTokenizer(checkpoint.metadata));
  } catch (error) {
    if (!(error instanceof HundredweightError) || faults.has(error.code)) throw error;
    fault = error;
  }
  const description = describeModel(checkpoint);
  const { config } = description;
  // The scalar kernels read like the others and are slow.
  const isa = d.pick(d.one(8) ? isas : isas.slice(-2));
  const long = isa !== "scalar" && d.one(32);
  const way = { isa, threads: d.one(16) ? 2 : 1, placement: d.one(3) ? d.pick(placements) : placements[0]! };
  const kvType = d.pick<KvCacheType>(["f16", "f16", "q8_0", "q4_0"]);
  const options = { contextTokens: 300, maxRows: 24, sequences: 1, kvType, maxLogitRows: 3 };
  const bound = await bindPlaced(description, way, options, (n) => d.below(n));
  try {
    const cache = new StateCache({ ...stateOptions(bound, bound.ops), sequences: 1, contextTokens: 300, maxRows: 24 });
    const slot = cache.openSequence();
    const known: number[] = [];
    // Now and then far enough for a second page.
    for (const rows of long ? [5, 1, ...new Array<number>(12).fill(24)] : [5, 1, 20]) {
      const position = cache.length(slot);
      cache.append(slot, rows);
      const of = (f: (i: number) => number) => Int32Array.from({ length: rows }, (_, i) => f(i));
      const table = {
        count: rows,
        ids: of(() => {
          const id = (ids[known.length % ids.length] ?? d.below(config.vocab)) % config.vocab;
          known.push(id);
          return id;
        }),
        positions: of((i) => position + i),
        sequences: of(() => slot),
        blockTables: cache.blockTables,
        slots: cache.slotTable([slot]),
        tokens: Array.from({ length: slot + 1 }, () => Int32Array.from(known)),
      };
      const wanted = Int32Array.of(0, ...(rows > 1 ? [rows - 1] : []));
      const logits = description.program.outputs.logits === undefined ? Int32Array.of() : wanted;
      const onHidden = (hidden: Float32Array): void => {
        if (hidden.length % config.dim !== 0) throw new Error(`${hidden.length} values`);
      };
      const hear = (values: Float32Array): void => {
        if (values.length % config.vocab !== 0) throw new Error(`${values.length} logits`);
      };
      await bound.forward(table, logits, hear, { wanted, onHidden });
    }
  } finally {
    bound.close();
  }
  if (fault !== undefined) throw fault;
}

/** Encodes, decodes and streams; returns the ids. */
function useTokenizer(tokenizer: Tokenizer): Int32Array {
  const ids = tokenizer.encode(text, { addSpecial: true, parseSpecial: true });
  for (const id of ids) if (!(id >= 0 && id < tokenizer.size)) throw new Error(`token ${id} of ${tokenizer.size}`);
  tokenizer.encode(text, { addSpecial: false, parseSpecial: false });
  tokenizer.decode(ids, { special: true });
  const decoder = createStreamDecoder(tokenizer);
  for (const id of ids) decoder.push(id);
  decoder.flush();
  for (let id = 0; id < tokenizer.size; id += 7) {
    tokenizer.piece(id);
    tokenizer.tokenKind(id);
  }
  return ids;
}

/** Growth of the process from here to its peak, KiB. */
function startPeak(): () => number {
  if (!linux) return () => 0;
  const status = (name: string): number =>
    Number(new RegExp(`${name}:\\s*(\\d+)`).exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? 0);
  let before: number;
  try {
    writeFileSync("/proc/self/clear_refs", "5"); // the high-water mark begins anew
    before = status("VmRSS");
  } catch {
    before = status("VmHWM");
  }
  return () => Math.max(0, status("VmHWM") - before);
}

await main();
