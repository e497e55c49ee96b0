/**
 * The arithmetic of a prompt's rows, from the list of a model's calls: products by type, experts, attention by how far
 * it looks back, and the values of everything else. Pure.
 */
import { type Layout, storedBytes } from "../formats/index.js";
import type { ModelDescription } from "../models/index.js";
import { lookedBack, weightsOf } from "../models/index.js";
import type { ComputeRates, MachineProfile } from "./machine.js";

/** Products of the matrices of one type: multiply-adds of a row. */
interface TypeWork {
  readonly layout: Layout;
  readonly products: number;
}

interface ExpertWork {
  readonly experts: number;
  readonly topK: number;
  /** The work of a row in an expert. */
  readonly types: readonly TypeWork[];
  readonly bytesPerExpert: number;
}

/** Attention of all layers that look back as far. */
interface AttentionWork {
  /** Positions that a row sees at most; 0: all. */
  readonly window: number;
  /** Multiply-adds of a row and a position it sees. */
  readonly products: number;
}

export interface PromptWork {
  /** Matrices that every row goes through. The head is none of them: few rows of a prompt want it. */
  readonly types: readonly TypeWork[];
  /** Matrices of rows whose logits are wanted. */
  readonly head: readonly TypeWork[];
  readonly experts: readonly ExpertWork[];
  readonly attention: readonly AttentionWork[];
  /** Values of a row that are made or read by norms, rotations, gates and sums. */
  readonly values: number;
}

const made = new WeakMap<ModelDescription, PromptWork>();

export function promptWork(description: ModelDescription): PromptWork {
  const known = made.get(description);
  if (known !== undefined) return known;
  const work = count(description);
  made.set(description, work);
  return work;
}

function count({ program, tensors }: ModelDescription): PromptWork {
  const stored = new Map(tensors.map(({ name, info }) => [name, info]));
  const layoutOf = (name: string): Layout | undefined => stored.get(name)?.layout;
  /** Matrices of which a row goes through each once. */
  const typesOf = (matrices: ReturnType<typeof weightsOf>): TypeWork[] =>
    matrices.flatMap(({ tensor, rows, cols }) => {
      const layout = layoutOf(tensor.name);
      return layout === undefined ? [] : [{ layout, products: rows * cols }];
    });
  const columns = (list: readonly { readonly cols: number }[]) => list.reduce((sum, { cols }) => sum + cols, 0);
  const byType = new Map<string, { layout: Layout; products: number }>();
  const ofHead: TypeWork[] = [];
  const windows = new Map<number, number>();
  const experts: ExpertWork[] = [];
  let values = 0;
  for (const call of program.calls) {
    if (call.hint) continue;
    if (call.outputs.some(({ rows }) => rows !== "all")) {
      if (call.verb === "linear" && call.outputs.some((output) => output === program.outputs.logits))
        ofHead.push(...typesOf(weightsOf(call)));
      continue;
    }
    switch (call.verb) {
      case "linear":
      case "headLinear": {
        const heads = call.verb === "headLinear" ? call.heads : 1;
        for (const { tensor, rows, cols, experts: stacked } of weightsOf(call)) {
          const layout = layoutOf(tensor.name);
          if (layout === undefined) continue;
          const type = byType.get(layout.name) ?? { layout, products: 0 };
          type.products += (rows * cols * stacked) / heads;
          byType.set(layout.name, type);
        }
        // Rows are quantized for products.
        values += columns(call.inputs.slice(0, 1));
        break;
      }
      case "experts": {
        const matrices = weightsOf(call);
        const { experts: all, topK } = call.routes;
        const bytesPerExpert = matrices.reduce(
          (sum, { tensor }) => sum + storedBytes(stored.get(tensor.name)?.planes ?? {}) / all,
          0,
        );
        experts.push({ experts: all, topK, types: typesOf(matrices), bytesPerExpert });
        // Rows go to their experts, through the gate, and are added up.
        values += topK * (2 * call.body.up.rows + columns(call.outputs));
        break;
      }
      case "attention":
        for (const { state, reach } of call.sources) {
          const window = lookedBack(reach);
          const products = (call.heads * (state.headDimK + state.headDimV)) / state.every;
          windows.set(window, (windows.get(window) ?? 0) + products);
        }
        break;
      case "lookup":
      case "pick":
        break;
      default:
        values += columns(call.outputs.length > 0 ? call.outputs : call.inputs);
    }
  }
  const attention = [...windows].map(([window, products]) => ({ window, products }));
  return { types: [...byType.values()], head: ofHead, experts, attention, values };
}

/** Rates of a machine on which only products of one type were measured, or none: as those usually are beside them. */
function ratesOf({ gemmOpsPerSecond, computeRates }: MachineProfile): ComputeRates {
  return (
    computeRates ?? {
      products: {},
      attentionOpsPerSecond: gemmOpsPerSecond / 5,
      gateValuesPerSecond: gemmOpsPerSecond / 120,
    }
  );
}

/** Rows' worth of work that a product spends on unpacking the weights, where nobody measured it. */
const usualUnpackRows = 6;
/**
 * Shares of the probe's rates that passes reach: its operands lie in caches, and its rows see whole pages. Fitted to
 * processor time by operation of `bench --profile` (SmolLM2 Q4_1, 8B and 30B-A3B shapes in Q4_K_M).
 */
const productShare = 0.78;
const attentionShare = 0.55;
/**
 * The same of one row: each key serves its few queries only. Fitted to SmolLM2 and Qwen2.5 1.5B, pasts of 0 to 3,000.
 */
const oneRowAttentionShare = 0.31;
/** A value that norms, rotations and sums make, beside one of a gate. */
const valuesPerGate = 1.6;

/** Computing of passes of many rows on a machine, without what reading weights takes. */
export class PromptCompute {
  readonly work: PromptWork;
  readonly #rates: ComputeRates;
  readonly #gemm: number;

  constructor(description: ModelDescription, machine: MachineProfile) {
    this.work = promptWork(description);
    this.#rates = ratesOf(machine);
    this.#gemm = machine.gemmOpsPerSecond;
  }

  /** Seconds of the products of the matrices that every row goes through. */
  productSeconds(rows: number): number {
    return this.#seconds(this.work.types, rows, 1);
  }

  /** The same where logits of all rows are wanted, as of an answer with guesses. */
  answerSeconds(rows: number): number {
    return this.#seconds([...this.work.types, ...this.work.head], rows, 1);
  }

  /** Seconds of experts, and the bytes of those that are used, when rows choose as they like. */
  expertUse(rows: number): { readonly seconds: number; readonly bytes: number } {
    let [seconds, bytes] = [0, 0];
    for (const { experts, topK, types, bytesPerExpert } of this.work.experts) {
      const used = experts * (1 - (1 - Math.min(1, topK / experts)) ** rows);
      seconds += this.#seconds(types, rows * Math.min(topK, experts), used);
      bytes += used * bytesPerExpert;
    }
    return { seconds, bytes };
  }

  /** Seconds of a row's norms, rotations, gates and sums. */
  get valueSeconds(): number {
    return (this.work.values * valuesPerGate) / this.#rates.gateValuesPerSecond;
  }

  /** Seconds in which a row sees a position, by how far it looks back. */
  get attention(): { readonly window: number; readonly seconds: number }[] {
    const rate = attentionShare * this.#rates.attentionOpsPerSecond;
    return this.work.attention.map(({ window, products }) => ({ window, seconds: (2 * products) / rate }));
  }

  /**
   * The same of a row alone, which reads what it sees from memory.
   * @param kvReadSeconds of a position, in all layers
   */
  oneRowAttention(kvReadSeconds: number): { readonly window: number; readonly seconds: number }[] {
    const rate = oneRowAttentionShare * this.#rates.attentionOpsPerSecond;
    const all = this.work.attention.reduce((sum, { products }) => sum + products, 0);
    return this.work.attention.map(({ window, products }) => ({
      window,
      seconds: (2 * products) / rate + (kvReadSeconds * products) / all,
    }));
  }

  #seconds(types: readonly TypeWork[], rows: number, matrices: number): number {
    return types.reduce((sum, { layout, products }) => {
      const rate = this.#rateOf(layout);
      return sum + (2 * products * (rows + matrices * rate.unpackRows)) / (productShare * rate.opsPerSecond);
    }, 0);
  }

  /** Types that were not measured are taken for the commonest with the same kind of products. */
  #rateOf({ name, acts }: Layout): { readonly opsPerSecond: number; readonly unpackRows: number } {
    const { products } = this.#rates;
    const known = products[name] ?? products[acts === "f32" ? "F32" : "Q4_K"];
    return known ?? { opsPerSecond: this.#gemm, unpackRows: usualUnpackRows };
  }
}
