/**
 * How far models are from a reference over texts: perplexity, KL divergence of every token, and how often the likeliest
 * token is the same one. All models read the same chunks in the same passes; rows of logits are compared where they
 * are made and never kept.
 * @source llama.cpp, tools/perplexity: the second half of every chunk is scored
 */
import { HundredweightError } from "../errors.js";
import { LiveRow, type ReferenceRow } from "./divergence.js";
import type { ReferenceReader, ReferenceWriter } from "./reference-file.js";
import type { ScoredModel } from "./scored-model.js";
import { blockTokens, type Interval, meanInterval, meanOf, quantileOf, ratioInterval, Series } from "./summary.js";

/** A text: a domain of its own. */
export interface Domain {
  readonly name: string;
  /** Ids, all of the same length. */
  readonly chunks: Iterable<Int32Array>;
}

export interface Perplexity {
  readonly perplexity: number;
  /** Standard error. */
  readonly error: number;
}

export interface ModelQuality extends Perplexity {
  /** Nats a token. */
  readonly kl: Interval & {
    readonly mean: number;
    readonly median: number;
    readonly p99: number;
    readonly largest: number;
  };
  /** Share of tokens whose likeliest one is the reference's. */
  readonly sameTop: number;
  /** Mean divergence beside that of the first model, over the same tokens. */
  readonly ratio: Interval & { readonly mean: number };
}

export interface DomainQuality {
  readonly name: string;
  readonly chunks: number;
  /** Tokens that were scored. */
  readonly tokens: number;
  /** Tokens that the bootstrap draws together. */
  readonly block: number;
  readonly reference: Perplexity;
  readonly models: readonly ModelQuality[];
}

export interface Quality {
  readonly domains: readonly DomainQuality[];
  /** All tokens of all domains. */
  readonly all: DomainQuality;
}

export interface QualityOptions {
  readonly chunkTokens: number;
  /** Chunks of one pass. Default 1. */
  readonly together?: number;
  /** Most chunks of a domain. */
  readonly maxChunks?: number;
  readonly signal?: AbortSignal;
  readonly onChunks?: (chunks: number, domain: string) => void;
  /** Takes down what the reference says. */
  readonly save?: ReferenceWriter;
}

/** A reference that runs beside the others, or what it said when it ran. */
export type Reference = ScoredModel | ReferenceReader;

/** @throws OPTION_INVALID for models of other vocabularies, texts without a whole chunk; CANCELLED */
export async function compareModels(
  reference: Reference,
  models: readonly ScoredModel[],
  domains: readonly Domain[],
  options: QualityOptions,
): Promise<Quality> {
  for (const model of models)
    if (model.vocab !== reference.vocab)
      throw new HundredweightError(
        "OPTION_INVALID",
        `${model.checkpoint.path}: ${model.vocab} tokens, the reference has ${reference.vocab}: nothing to compare`,
      );
  const scores = new Scores(reference, models, options);
  const found: Tokens[] = [];
  for (const domain of domains) found.push(await scores.score(domain));
  const scored = options.chunkTokens - 1 - Math.floor(options.chunkTokens / 2);
  return {
    domains: found.map((tokens, i) => summarize(domains[i]!.name, tokens, scored)),
    all: summarize("all", joined(found), scored),
  };
}

/** Everything that is known of each token. */
interface Tokens {
  readonly chunks: number;
  readonly nll: Float64Array;
  readonly models: readonly { readonly kl: Float64Array; readonly nll: Float64Array; readonly same: number }[];
}

class Scores {
  private readonly reference: Reference;
  private readonly models: readonly ScoredModel[];
  private readonly options: QualityOptions;
  private readonly live: LiveRow;

  constructor(reference: Reference, models: readonly ScoredModel[], options: QualityOptions) {
    this.reference = reference;
    this.models = models;
    this.options = options;
    this.live = new LiveRow(reference.vocab);
  }

  async score({ name, chunks }: Domain): Promise<Tokens> {
    const { together = 1, maxChunks = Infinity, chunkTokens } = this.options;
    const nll = new Series();
    const models = this.models.map(() => ({ kl: new Series(), nll: new Series(), same: 0 }));
    const judge = (row: ReferenceRow, next: number, rows: readonly Float32Array[]): void => {
      nll.push(row.nll);
      for (const [m, into] of models.entries()) {
        const found = row.compare(rows[m]!, next);
        into.kl.push(found.kl);
        into.nll.push(found.nll);
        if (found.sameTop) into.same++;
      }
    };
    let done = 0;
    const group: Int32Array[] = [];
    const evaluate = async (): Promise<void> => {
      if (group.length === 0) return;
      await this.evaluate(group, judge);
      done += group.length;
      group.length = 0;
      this.options.onChunks?.(done, name);
    };
    for (const chunk of chunks) {
      if (done + group.length === maxChunks) break;
      group.push(chunk.slice());
      if (group.length === together) await evaluate();
    }
    await evaluate();
    if (done === 0)
      throw new HundredweightError(
        "OPTION_INVALID",
        `${name}: has no whole chunk of ${chunkTokens} tokens; take more text, or a smaller --ctx`,
      );
    const all = models.map((model) => ({ kl: model.kl.all, nll: model.nll.all, same: model.same }));
    return { chunks: done, nll: nll.all, models: all };
  }

  /** Chunks that lie one behind the other, in passes that all models take. */
  private async evaluate(
    chunks: readonly Int32Array[],
    judge: (row: ReferenceRow, next: number, rows: readonly Float32Array[]) => void,
  ): Promise<void> {
    const { reference, models } = this;
    const all = "pass" in reference ? [reference, ...models] : models;
    const length = chunks[0]!.length;
    const total = length * chunks.length;
    const scoredFrom = Math.floor(length / 2);
    const rows = Math.min(total, ...all.map(({ maxRows }) => maxRows));
    const slice = Math.min(...all.map(({ logitRows }) => logitRows));
    if (!("pass" in reference)) reference.expect(chunks);
    this.options.save?.begin(chunks);
    for (let from = 0; from < total; from += rows) {
      const to = Math.min(total, from + rows);
      for (const model of all) {
        // Signals are heard between passes.
        await new Promise(setImmediate);
        if (this.options.signal?.aborted) throw new HundredweightError("CANCELLED", "comparing was cancelled");
        await model.pass(chunks, from, to);
      }
      const wanted: number[] = [];
      for (let row = from; row < to; row++)
        if (row % length >= scoredFrom && row % length < length - 1) wanted.push(row - from);
      for (let first = 0; first < wanted.length; first += slice)
        await this.slice(chunks, from, Int32Array.from(wanted.slice(first, first + slice)), judge);
    }
  }

  private async slice(
    chunks: readonly Int32Array[],
    from: number,
    wanted: Int32Array,
    judge: (row: ReferenceRow, next: number, rows: readonly Float32Array[]) => void,
  ): Promise<void> {
    const { reference, models, live } = this;
    const { vocab } = reference;
    const length = chunks[0]!.length;
    const own = "pass" in reference ? await reference.logits(wanted) : undefined;
    const others: Float32Array[] = [];
    for (const model of models) others.push(await model.logits(wanted));
    const rowOf = (values: Float32Array, i: number) => values.subarray(i * vocab, (i + 1) * vocab);
    for (const [i, row] of wanted.entries()) {
      const at = from + row;
      const next = chunks[Math.floor(at / length)]![(at % length) + 1]!;
      if (own !== undefined) this.options.save?.row(rowOf(own, i), next);
      const judged = own === undefined ? (reference as ReferenceReader).next() : live.take(rowOf(own, i), next);
      judge(
        judged,
        next,
        others.map((values) => rowOf(values, i)),
      );
    }
  }
}

function joined(found: readonly Tokens[]): Tokens {
  const join = (parts: readonly Float64Array[]): Float64Array => {
    const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  };
  return {
    chunks: found.reduce((sum, { chunks }) => sum + chunks, 0),
    nll: join(found.map(({ nll }) => nll)),
    models: found[0]!.models.map((_, m) => ({
      kl: join(found.map(({ models }) => models[m]!.kl)),
      nll: join(found.map(({ models }) => models[m]!.nll)),
      same: found.reduce((sum, { models }) => sum + models[m]!.same, 0),
    })),
  };
}

function summarize(name: string, { chunks, nll, models }: Tokens, scored: number): DomainQuality {
  const block = blockTokens(nll.length, scored);
  const base = models[0]?.kl;
  return {
    name,
    chunks,
    tokens: nll.length,
    block,
    reference: perplexityOf(nll),
    models: models.map(({ kl, nll: own, same }) => {
      const sorted = kl.slice().sort();
      const mean = meanOf(kl);
      const [median, p99, largest] = [0.5, 0.99, 1].map((place) => quantileOf(sorted, place)) as [
        number,
        number,
        number,
      ];
      return {
        ...perplexityOf(own),
        kl: { mean, ...meanInterval(kl, block), median, p99, largest },
        sameTop: same / kl.length,
        ratio: { mean: mean / meanOf(base!), ...ratioInterval(kl, base!, block) },
      };
    }),
  };
}

function perplexityOf(nll: Float64Array): Perplexity {
  const mean = meanOf(nll);
  let squares = 0;
  for (const value of nll) squares += (value - mean) ** 2;
  const perplexity = Math.exp(mean);
  return { perplexity, error: perplexity * Math.sqrt(squares / nll.length / Math.max(1, nll.length - 1)) };
}
