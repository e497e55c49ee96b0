/**
 * What the addon reserves at seal() beside tensors and KV pages, from the same shapes and by the same rules
 * (native/ops: reserve_pass, reserve_matmul, reserve_attention, reserve_experts). For plans; a test compares it.
 */
import type { Acts } from "../formats/layouts.js";
import type { PaperRecord } from "./paper.js";

const kernelScratchBytes = 512 * 1024;
const attentionQueries = 64;
const attentionPiecesBytes = 4 * 2 ** 20;
const blockBytes = 24;
const productTaskBytes = 104;

const roundUp = (value: number, multiple: number) => Math.ceil(value / multiple) * multiple;

/** Buffers by name; a later, smaller request does not shrink one. */
class Buffers {
  readonly #bytes = new Map<string, number>();
  grow(name: string, bytes: number): void {
    this.#bytes.set(name, Math.max(this.#bytes.get(name) ?? 0, roundUp(bytes, 64)));
  }
  total(): number {
    let sum = 0;
    for (const bytes of this.#bytes.values()) sum += bytes;
    return sum;
  }
}

/** Rows quantized for products: values, scales, sums. */
function growActs(buffers: Buffers, name: string, rows: number, cols: number, kind: Acts): void {
  if (kind === "f32") return;
  const stride = roundUp(cols, 64);
  const block = kind === "q8_256" ? 256 : 32;
  buffers.grow(`${name} ${kind} q`, rows * (stride % 4096 === 0 ? stride + 64 : stride));
  buffers.grow(`${name} ${kind} d`, rows * roundUp(Math.floor(cols / block), 16) * 4);
  buffers.grow(`${name} ${kind} sums`, rows * roundUp(Math.floor(cols / 16), 32) * 2);
}

export function nativeScratchBytes(record: PaperRecord, threads: number): number {
  const buffers = new Buffers();
  const rows = Math.max(1, ...record.tensors.map((t) => t.rows));
  const perThread = (bytes: number) => buffers.grow("thread", roundUp(bytes, 4096) * threads);
  buffers.grow("kernel", threads * kernelScratchBytes);
  buffers.grow("rows", rows * 12);
  for (const [i, pool] of record.pools.entries()) buffers.grow(`table ${i}`, 4 * Math.max(4096, 4 * pool.pages));

  const kindsByCols = new Map<number, Set<Acts>>();
  for (const { cols, layout } of record.matrices) {
    const kinds = kindsByCols.get(cols) ?? new Set();
    kindsByCols.set(cols, kinds.add(layout.acts!));
  }
  for (const x of record.tensors)
    for (const kind of kindsByCols.get(x.cols) ?? []) growActs(buffers, "acts", x.rows, x.cols, kind);
  perThread(4 * Math.max(4096, 128 * rows));

  const headDimK = Math.max(0, ...record.pools.map((p) => p.headDimK));
  const headDimV = Math.max(0, ...record.pools.map((p) => p.headDimV));
  if (headDimV > 0) {
    const pieceBytes = roundUp(attentionQueries * (2 + headDimV), 16) * 4;
    buffers.grow("blocks", rows * blockBytes);
    perThread(3 * pieceBytes + attentionQueries * (headDimK + 64 + Math.floor(headDimK / 4)));
    if (threads > 1) buffers.grow("pieces", Math.max(attentionPiecesBytes, 8 * threads * pieceBytes));
  }
  growExperts(buffers, record);
  return buffers.total();
}

function growExperts(buffers: Buffers, { matrices, tensors, routings }: PaperRecord): void {
  const widths = new Set(tensors.map((t) => t.cols));
  const seen = new Set<string>();
  for (const w of matrices) {
    const key = `${w.rows} ${w.cols} ${w.experts} ${w.layout.acts}`;
    if (w.experts < 2 || seen.has(key)) continue;
    seen.add(key);
    for (const [dim, hidden, down] of [
      [w.cols, w.rows, false],
      [w.rows, w.cols, true],
    ] as const) {
      if (!widths.has(dim)) continue;
      for (const routing of routings) {
        const pairs = routing.rows * routing.topK;
        const wave = Math.max(routing.rows, Math.min(pairs, 256));
        buffers.grow("expert order", 4 * (3 * pairs + w.experts + 1));
        buffers.grow("expert products", 2 * Math.min(w.experts, pairs) * productTaskBytes);
        buffers.grow("expert rows", 4 * (2 * wave * hidden + pairs * dim));
        if (down) growActs(buffers, "hidden", wave, hidden, w.layout.acts!);
      }
    }
  }
}
