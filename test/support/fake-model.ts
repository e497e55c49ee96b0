/**
 * A stand-in for a bound model. Its "KV cache" is real: ids are written to the pages of the row table and read back
 * through the block tables, in a full group and a windowed one, so that a wrong page, a missing copy or a stale row
 * changes the logits. With `recurrent` it has slots besides, each of which holds the ids it has seen; those enter the
 * hash too. Logits are a hash of everything visible; entropy is far below log(vocab).
 */

import type { EngineModel, EngineParts } from "../../src/engine/parts.js";
import { HundredweightError } from "../../src/errors.js";
import type { ModelInfo } from "../../src/link/protocol.js";
import type { HiddenRows } from "../../src/models/index.js";
import { type OpsCounters, pagePositions, type RowTable } from "../../src/ops/ops.js";
import type { StreamDecoder, Tokenizer } from "../../src/tokenizer/types.js";
import { noFim } from "../../src/tokenizer/types.js";

export const fakeVocab = 260;
export const fakeDim = 8;
const endId = 258;
const bosId = 257;

export interface FakeOptions {
  readonly contextTokens?: number;
  readonly chunkRows?: number;
  readonly sequences?: number;
  /** Positions all sequences share; default: a context each. */
  readonly kvTokens?: number;
  readonly queueLimit?: number;
  readonly window?: number;
  /** Has a state that is replaced: two slots for each sequence and so many more. */
  readonly recurrent?: number | undefined;
  /** Busy time of a pass, polling the cancel flag as kernels do. */
  readonly passMs?: number;
  /** Rows of a logits slice. */
  readonly sliceRows?: number;
  /** Overrides the logits of a row, given the ids so far. */
  readonly logits?: (ids: number[], out: Float32Array) => void;
  /** Throws what it returns before a pass. */
  readonly fault?: (rows: RowTable) => Error | undefined;
}

export class FakeModel implements EngineModel {
  readonly kvGroups: EngineModel["kvGroups"];
  readonly slots: EngineModel["slots"];
  /** Ids are stored, which are the same at every position. */
  readonly turns: NonNullable<EngineModel["turns"]>;
  passes = 0;
  rows = 0;
  /** Row tables of the passes that were begun, if somebody wants them. */
  onPass: ((rows: RowTable) => void) | undefined;
  closed = false;
  private readonly options: FakeOptions;
  private readonly memory: Int32Array[];
  /** Ids that a slot has seen; ids that a pass with drafts fed in. */
  private readonly seen: number[][] = [];
  private readonly kept: number[][] = [];
  private flag: Int32Array | null = null;

  constructor(options: FakeOptions = {}) {
    this.options = options;
    const { contextTokens = 1024, chunkRows = 64, sequences = 1, window = 300 } = options;
    const full = Math.ceil(contextTokens / pagePositions);
    const all = Math.max(full, Math.ceil((options.kvTokens ?? sequences * contextTokens) / pagePositions)) + sequences;
    const kept = window === 0 ? full : Math.min(full, Math.ceil((window + chunkRows + pagePositions) / pagePositions));
    const pool = (id: number, pages: number) => ({ id, pages, layers: 1, pageBytes: 4 * pagePositions });
    this.kvGroups = [
      { pool: pool(0, all), window: 0 },
      { pool: pool(1, window === 0 ? all : Math.min(all, sequences * (kept + 1))), window },
    ];
    const { recurrent } = options;
    const fault = recurrent === undefined ? undefined : "it is recurrent";
    this.turns = { groups: this.kvGroups.map(() => [null]), fault };
    this.slots =
      recurrent === undefined
        ? undefined
        : { id: 0, slots: 2 * sequences + recurrent, slotBytes: 64, keeps: sequences, keepBytes: 32 };
    this.memory = this.kvGroups.map((group) => new Int32Array(group.pool.pages * pagePositions).fill(-1));
  }

  readonly backend = {
    kvCopyPage: (pool: { id: number }, from: number, to: number): void => {
      const memory = this.memory[pool.id]!;
      memory.copyWithin(to * pagePositions, from * pagePositions, (from + 1) * pagePositions);
    },
    kvCopyRows: (pool: { id: number }, from: number, to: number, rows: number): void => {
      const memory = this.memory[pool.id]!;
      memory.copyWithin(to * pagePositions, from * pagePositions, from * pagePositions + rows);
    },
    replay: (_pool: unknown, from: number, to: number, keep: number, rows: number): void => {
      this.seen[to] = [...(from < 0 ? [] : this.seen[from]!), ...this.kept[keep]!.slice(0, rows)];
    },
    setCancelFlag: (flag: Int32Array | null): void => {
      this.flag = flag;
    },
    counters: (): OpsCounters => ({ activationBytes: 1, kvBytes: 2, scratchBytes: 3, weightBytes: 4, allocations: 5 }),
  };

  async forward(
    rows: RowTable,
    wanted: Int32Array,
    onLogits: (logits: Float32Array, first: number) => void,
    hidden?: HiddenRows,
  ): Promise<void> {
    const { passMs = 0, sliceRows = 7 } = this.options;
    this.onPass?.(rows);
    const fault = this.options.fault?.(rows);
    if (fault !== undefined) throw fault;
    for (let t = 0; t < rows.count; t++) {
      for (const g of this.kvGroups.keys()) this.memory[g]![this.cell(rows, g, t, rows.positions[t]!)] = rows.ids[t]!;
    }
    const before = this.slots === undefined ? [] : this.feed(rows);
    const end = performance.now() + passMs;
    do {
      if (this.flag !== null && Atomics.load(this.flag, 0) !== 0)
        throw new HundredweightError("CANCELLED", "in a pass");
    } while (performance.now() < end);
    this.passes++;
    this.rows += rows.count;
    for (let first = 0; first < wanted.length; first += sliceRows) {
      const slice = wanted.subarray(first, first + sliceRows);
      const out = new Float32Array(slice.length * fakeVocab);
      for (const [i, t] of slice.entries())
        this.row(rows, t, out.subarray(i * fakeVocab, (i + 1) * fakeVocab), before[t]);
      onLogits(out, first);
    }
    for (let first = 0; first < (hidden?.wanted.length ?? 0); first += sliceRows) {
      const slice = hidden!.wanted.subarray(first, first + sliceRows);
      const row = new Float32Array(fakeVocab);
      const out = new Float32Array(slice.length * fakeDim);
      for (const [i, t] of slice.entries()) {
        this.row(rows, t, row, before[t]);
        out.set(row.subarray(0, fakeDim), i * fakeDim);
      }
      hidden!.onHidden(out, first);
    }
  }

  close(): void {
    this.closed = true;
  }

  /** Reads and writes slots.  @returns for each row what its sequence had seen when it came, itself included */
  private feed({ count, ids, sequences, slots, marks = new Int32Array(0) }: RowTable): number[][] {
    const after: number[][] = [];
    for (let t = 0, end = 0; t < count; t = end) {
      const [from, to, keep] = slots!.subarray(3 * sequences[t]!) as unknown as [number, number, number];
      const seen = from < 0 ? [] : [...this.seen[from]!];
      while (end < count && sequences[end] === sequences[t]) {
        seen.push(ids[end++]!);
        after.push(seen.slice());
      }
      this.seen[to] = seen;
      if (keep >= 0) this.kept[keep] = Array.from(ids.subarray(t, end));
    }
    for (let i = 0; i < marks.length; i += 2) this.seen[marks[i + 1]!] = after[marks[i]!]!;
    return after;
  }

  private row(rows: RowTable, t: number, out: Float32Array, seen: readonly number[] = []): void {
    const position = rows.positions[t]!;
    const ids: number[] = [];
    for (let p = 0; p <= position; p++) ids.push(this.memory[0]![this.cell(rows, 0, t, p)]!);
    if (this.options.logits !== undefined) {
      this.options.logits(ids, out);
      return;
    }
    let hash = 17;
    const mix = (value: number): void => {
      hash = Math.imul(hash ^ value, 0x01000193) >>> 0;
    };
    for (const id of ids) mix(id);
    for (const id of seen) mix(id);
    const window = this.kvGroups[1]!.window;
    for (let p = Math.max(0, position - window + 1); p <= position; p++)
      mix(this.memory[1]![this.cell(rows, 1, t, p)]!);
    for (let v = 0; v < out.length; v++) {
      hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
      out[v] = (hash % 1000) / 50;
    }
    // Ends of generation are rare enough for tests that want text, and not absent.
    out[endId] = out[endId]! - 18;
    out[bosId] = -50;
  }

  private cell(rows: RowTable, group: number, t: number, position: number): number {
    const page = rows.blockTables[group]![rows.sequences[t]!]![Math.floor(position / pagePositions)]!;
    if (page < 0) throw new Error(`group ${group}: position ${position} has no page`);
    return page * pagePositions + (position % pagePositions);
  }
}

/** One token a byte; 256 <sep>, 257 BOS, 258 end, 259 a second end. */
export const fakeTokenizer: Tokenizer = {
  size: fakeVocab,
  kind: "fake",
  preTokenizer: undefined,
  fim: noFim,
  special: {
    bos: bosId,
    eos: endId,
    eot: undefined,
    unknown: undefined,
    padding: undefined,
    separator: undefined,
    mask: undefined,
  },
  addBos: true,
  addEos: false,
  addSeparator: false,
  addSpacePrefix: false,
  encode(text, options = {}) {
    const ids = options.addSpecial === false ? [] : [bosId];
    const parts = options.parseSpecial ? text.split("<end>") : [text];
    for (const [i, part] of parts.entries()) {
      if (i > 0) ids.push(endId);
      ids.push(...Buffer.from(part, "utf8"));
    }
    return Int32Array.from(ids);
  },
  encodeSegments(segments) {
    const ids = segments.map(({ text, user }) => this.encode(text, { addSpecial: false, parseSpecial: !user }));
    return Int32Array.from([bosId, ...ids.flatMap((part) => [...part])]);
  },
  pieceBytes: (id) => (id < 256 ? Uint8Array.of(id) : new Uint8Array(0)),
  piece: (id) => (id < 256 ? String.fromCharCode(id) : `<${id}>`),
  tokenKind: (id) => (id < 256 ? "byte" : "control"),
  decode: (ids) => Buffer.from(Array.from(ids).filter((id) => id < 256)).toString("utf8"),
  endOfGeneration: new Set([endId, 259]),
  tokenId: (text) => (text === "<end>" ? endId : undefined),
};

export function fakeDecoder(): StreamDecoder {
  const decoder = new TextDecoder("utf-8");
  return {
    push: (id) => (id < 256 ? decoder.decode(Uint8Array.of(id), { stream: true }) : ""),
    flush: () => decoder.decode(),
  };
}

export function fakeParts(options: FakeOptions = {}): EngineParts & { readonly model: FakeModel } {
  const { contextTokens = 1024, chunkRows = 64 } = options;
  const info: ModelInfo = {
    path: "fake",
    name: "fake",
    architecture: "fake",
    ops: "fake",
    vocab: fakeVocab,
    dim: fakeDim,
    trainedContextTokens: contextTokens,
    contextTokens,
    chunkRows,
    kvType: "f16",
    weightBytes: 1000,
    passWeightBytes: 900,
    residency: {
      strategy: "resident",
      io: "mmap",
      budgetBytes: 2 ** 30,
      plannedBytes: 2 ** 20,
      predictedSecondsPerToken: 1e-3,
    },
    tokenizer: "fake",
    addBos: true,
    special: { bos: bosId, eos: endId },
    bosText: "",
    eosText: "",
    chatTemplate: undefined,
    samplingDefaults: {},
    parameters: 1,
    fileType: undefined,
    header: {},
  };
  const { sequences = 1, queueLimit } = options;
  return {
    info,
    tokenizer: fakeTokenizer,
    streamDecoder: fakeDecoder,
    model: new FakeModel(options),
    sequences,
    ...(queueLimit !== undefined && { queueLimit }),
  };
}
