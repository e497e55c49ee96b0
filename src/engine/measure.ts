/** Passes of given shapes against the clock: what `bench` asks for. */
import { setImmediate as yieldToEvents } from "node:timers/promises";
import { HundredweightError } from "../errors.js";
import type { KvCache } from "../kv/cache.js";
import { pagePositions, type RowTable } from "../ops/ops.js";
import type { Candidates } from "../sampling/candidates.js";
import { defaultSampling, SamplerChain } from "../sampling/chain.js";
import { Rng } from "../sampling/rng.js";
import { sample } from "./generate.js";
import type { EngineParts } from "./parts.js";
import type { JobResult, MeasureRequest } from "./protocol.js";
import type { Session } from "./session.js";

export interface MeasureContext {
  readonly parts: EngineParts;
  readonly session: Session;
  readonly candidates: Candidates;
  readonly cache: KvCache;
}

/**
 * Leaves the timeline empty.
 * @throws OPTION_INVALID for more rows than sequences, CONTEXT_EXCEEDED, CANCELLED
 */
export async function measure(context: MeasureContext, request: MeasureRequest): Promise<JobResult> {
  const { parts, session } = context;
  const { prompt, decode, depth = 0, rows = 1 } = request;
  const { vocab } = parts.info;
  if (rows < 1 || rows > (parts.sequences ?? 1)) {
    throw new HundredweightError("OPTION_INVALID", `${rows} rows: the model was opened for ${parts.sequences ?? 1}`);
  }
  const rng = new Rng(1);
  const tokens = Int32Array.from({ length: Math.max(prompt, decode, rows, pagePositions) }, () =>
    Math.floor(rng.uniform() * vocab),
  );
  session.rewind(0);
  const began = performance.now();
  if (prompt > 0) await session.eval(tokens.subarray(0, prompt));
  const prefillMs = performance.now() - began;
  session.rewind(0);
  if (decode === 0) return { kind: "measure", prefillMs, decodeMs: 0 };
  const decodeMs = await decodeRows(context, tokens, { decode, depth, rows });
  return { kind: "measure", prefillMs, decodeMs };
}

/** The way `generate` goes, without its text and its events; tokens are given, whatever the choice. */
async function decodeRows(
  { parts, session, candidates, cache }: MeasureContext,
  tokens: Int32Array,
  { decode, depth, rows }: { readonly decode: number; readonly depth: number; readonly rows: number },
): Promise<number> {
  const { vocab, chunkRows } = parts.info;
  const chain = greedy(parts, candidates, decode * rows);
  if (depth > 0) await session.eval(tokens.subarray(0, Math.min(depth, pagePositions)));
  const opened = Array.from({ length: rows - 1 }, () => cache.openSequence());
  const sequences = Int32Array.from([session.sequence, ...opened]);
  try {
    const page = cache.blockTables.map((tables) => tables[session.sequence]?.[0] ?? -1);
    for (const sequence of sequences) layOut(parts, cache, { sequence, depth, page, most: chunkRows });
    const table: RowTable = {
      count: rows,
      ids: tokens.slice(0, rows),
      positions: new Int32Array(rows),
      sequences,
      blockTables: cache.blockTables,
    };
    const wanted = Int32Array.from({ length: rows }, (_, row) => row);
    const began = performance.now();
    for (let i = 0; i < decode; i++) {
      for (const sequence of sequences) cache.append(sequence, 1);
      table.positions.fill(depth + i);
      for (let r = 0; r < rows; r++) table.ids[r] = tokens[(i + r) % tokens.length]!;
      await parts.model.forward(table, wanted, (logits) => {
        for (let r = 0; r * vocab < logits.length; r++)
          sample(parts, chain, logits.subarray(r * vocab, (r + 1) * vocab));
      });
      await yieldToEvents();
    }
    return performance.now() - began;
  } finally {
    for (const sequence of opened) cache.release(sequence);
    session.rewind(0);
  }
}

/**
 * Brings a sequence to `depth` positions. Every page it gets is a copy of `page`, one of each group that holds computed
 * keys and values: pages that nobody wrote would all be the system's one page of zeros, and read far too fast. A windowed
 * group may hand `page` itself out again; what is in it stays right.
 */
function layOut(
  { model }: EngineParts,
  cache: KvCache,
  o: { readonly sequence: number; readonly depth: number; readonly page: readonly number[]; readonly most: number },
): void {
  for (let length = cache.length(o.sequence); length < o.depth; length = cache.length(o.sequence)) {
    cache.append(o.sequence, Math.min(o.most, o.depth - length));
    for (const [group, { pool }] of model.kvGroups.entries()) {
      const table = cache.blockTables[group]![o.sequence]!;
      const end = Math.ceil(cache.length(o.sequence) / pagePositions);
      for (let block = Math.ceil(length / pagePositions); block < end; block++)
        if (table[block] !== o.page[group]) model.ops.kvCopyPage(pool, o.page[group]!, table[block]!);
    }
  }
}

function greedy(parts: EngineParts, candidates: Candidates, limit: number): SamplerChain {
  return new SamplerChain({ ...defaultSampling, temperature: 0, seed: 1 }, candidates, limit, parts.tokenizer);
}
