/** Passes of given shapes against the clock: what `bench` asks for. */
import { HundredweightError } from "../errors.js";
import { pagePositions } from "../ops/ops.js";
import type { Candidates } from "../sampling/candidates.js";
import { defaultSampling, SamplerChain } from "../sampling/chain.js";
import { Rng } from "../sampling/rng.js";
import type { StateCache } from "../state/cache.js";
import { sample } from "./generate.js";
import type { JobResult, MeasureRequest } from "./jobs.js";
import type { EngineParts } from "./parts.js";
import { ScoreTask } from "./score.js";
import type { Past, Task, Wanted } from "./task.js";

export interface MeasureContext {
  readonly parts: EngineParts;
  readonly candidates: Candidates;
  readonly cache: StateCache;
  /** Evaluates these, one sequence each, in passes of their own. */
  run(tasks: readonly Task[]): Promise<unknown>;
}

/** @throws OPTION_INVALID for more rows than sequences, CONTEXT_EXCEEDED, CANCELLED */
export async function measure(context: MeasureContext, request: MeasureRequest): Promise<JobResult> {
  const { parts, run } = context;
  const { prompt, decode, depth = 0, rows = 1 } = request;
  const { vocab } = parts.info;
  if (rows < 1 || rows > (parts.sequences ?? 1)) {
    throw new HundredweightError("OPTION_INVALID", `${rows} rows: the model was opened for ${parts.sequences ?? 1}`);
  }
  const rng = new Rng(1);
  const tokens = Int32Array.from({ length: Math.max(prompt, decode, rows, pagePositions) }, () =>
    Math.floor(rng.uniform() * vocab),
  );
  const page = tokens.subarray(0, Math.min(depth, pagePositions));
  // Kept as a prefix, where prompt and rows find it.
  const keepPage = async (): Promise<void> => {
    if (depth === 0) return;
    await run([new ScoreTask({ emit: () => {}, scans: {} }, page, { from: page.length, output: "logprobs" })]);
  };
  let prefillMs = 0;
  if (prompt > 0) {
    await keepPage();
    const read = new TimedPrompt(context, { tokens: tokens.subarray(0, prompt), page, depth });
    await run([read]);
    prefillMs = read.elapsedMs;
  }
  if (decode === 0) return { kind: "measure", prefillMs, decodeMs: 0 };
  await keepPage();
  const timed = Array.from({ length: rows }, (_, row) => new TimedRow(context, { tokens, page, row, decode, depth }));
  await run(timed);
  const began = Math.max(...timed.map((task) => task.began));
  const ended = Math.max(...timed.map((task) => task.ended));
  return { kind: "measure", prefillMs, decodeMs: ended - began };
}

interface PromptShape {
  readonly tokens: Int32Array;
  /** The beginning of the past, as far as it is computed: at most a page. */
  readonly page: Int32Array;
  readonly depth: number;
}

/** A past apart, nothing is taken from earlier jobs, and the last row's logits are made. */
class TimedPrompt implements Task {
  readonly tokens: Int32Array;
  readonly known: number;
  readonly promptTokens: number;
  readonly mostPositions: number;
  readonly reusable: number;
  readonly past: Past = "gone";
  readonly answering = false;
  readonly generated = 0;
  result: JobResult | undefined;
  elapsedMs = 0;
  private readonly context: MeasureContext;
  private readonly depth: number;
  private began = 0;
  private seen = false;

  constructor(context: MeasureContext, { tokens, page, depth }: PromptShape) {
    this.context = context;
    this.depth = depth;
    this.reusable = page.length;
    this.mostPositions = depth + tokens.length;
    this.tokens = new Int32Array(this.mostPositions);
    this.tokens.set(page);
    this.tokens.set(tokens, depth);
    this.known = this.mostPositions;
    this.promptTokens = this.mostPositions;
  }

  start(_reused: number, sequence: number): void {
    layOut(this.context, sequence, this.depth);
    this.began = performance.now();
  }

  wanted(position: number): Wanted {
    return position === this.known - 1 ? "logits" : "nothing";
  }

  take(): void {
    this.seen = true;
  }

  passed(): void {
    if (!this.seen) return;
    this.elapsedMs = performance.now() - this.began;
    this.result = { kind: "measure", prefillMs: this.elapsedMs, decodeMs: 0 };
  }
}

interface RowShape {
  readonly tokens: Int32Array;
  /** The beginning of the past, as far as it is computed: at most a page. */
  readonly page: Int32Array;
  readonly row: number;
  readonly decode: number;
  readonly depth: number;
}

/** The way `generate` goes, without its text and its events; tokens are given, whatever the choice. */
class TimedRow implements Task {
  readonly tokens: Int32Array;
  known: number;
  readonly promptTokens: number;
  readonly mostPositions: number;
  readonly reusable: number;
  readonly past: Past = "gone";
  readonly answering = true;
  result: JobResult | undefined;
  began = 0;
  ended = 0;
  private readonly context: MeasureContext;
  private readonly chain: SamplerChain;
  private next: number;

  constructor(context: MeasureContext, { tokens, page, row, decode, depth }: RowShape) {
    const { parts, candidates } = context;
    this.context = context;
    this.promptTokens = depth;
    this.mostPositions = depth + decode;
    this.tokens = new Int32Array(this.mostPositions);
    this.tokens.set(page);
    for (let i = 0; i < decode; i++) this.tokens[depth + i] = tokens[(i + row) % tokens.length]!;
    this.known = depth + 1;
    this.reusable = page.length;
    this.next = depth;
    this.chain = new SamplerChain({ ...defaultSampling, temperature: 0, seed: 1 }, candidates, decode, parts.tokenizer);
  }

  get generated(): number {
    return this.next - this.promptTokens;
  }

  start(_reused: number, sequence: number): void {
    layOut(this.context, sequence, this.promptTokens);
    this.began = performance.now();
  }

  wanted(position: number): Wanted {
    return position >= this.next ? "logits" : "nothing";
  }

  take(position: number, row: Float32Array): void {
    if (position < this.next) return;
    sample(this.context.parts, this.chain, row);
    this.next = position + 1;
    this.known = Math.min(this.mostPositions, this.known + 1);
  }

  passed(): void {
    this.ended = performance.now();
    if (this.next < this.mostPositions) return;
    this.result = { kind: "measure", prefillMs: 0, decodeMs: this.ended - this.began };
  }
}

/**
 * Brings a sequence that holds its first page to `depth` positions. Every page it gets is a copy of that one, which
 * holds computed keys and values: pages that nobody wrote would all be the system's one page of zeros, and read far too
 * fast. A windowed group may hand the page itself out again; what is in it stays right.
 */
function layOut({ parts: { model, info }, cache }: MeasureContext, sequence: number, depth: number): void {
  const first = cache.blockTables.map((tables) => tables[sequence]![0]!);
  for (let length = cache.length(sequence); length < depth; length = cache.length(sequence)) {
    cache.append(sequence, Math.min(info.chunkRows, depth - length));
    for (const [group, { pool, every = 1 }] of model.kvGroups.entries()) {
      const table = cache.blockTables[group]![sequence]!;
      const positions = every * pagePositions;
      const end = Math.ceil(cache.length(sequence) / positions);
      for (let block = Math.ceil(length / positions); block < end; block++)
        if (table[block] !== first[group]) model.backend.kvCopyPage(pool, first[group]!, table[block]!);
    }
  }
}
