/**
 * Where every weight byte lies and what everything else takes, decided before anything is loaded. Pure: model, machine
 * and options in, placement and predictions out. More budget never makes the planned request slower.
 */
import { HundredweightError } from "../errors.js";
import type { ModelDescription } from "../models/index.js";
import type { KvCacheType } from "../ops/ops.js";
import type { MachineProfile } from "./machine.js";
import { sizeOf } from "./memory-limit.js";
import { defaultChunkRows, defaultContextTokens } from "./plan-defaults.js";
import { expertPolicy, leastSlotBytes, makeSlots, type SlotClass } from "./plan-experts.js";
import { FixedMemory, sumOf } from "./plan-fixed.js";
import { type PlanMatrix, type PlanModel, planModel, sumBytes } from "./plan-model.js";
import { placeTrunk } from "./plan-place.js";
import { type Prediction, type PredictionInput, predict } from "./plan-predict.js";
import type { Strategy } from "./plan-summary-types.js";
import { edgeBytes, makeRing, noRing, type Ring, ringSizes, tileProgram, tileSizes } from "./plan-tiles.js";
import type { Plan, PlanBytes, PlanOptions } from "./plan-types.js";

export type { MachineProfile } from "./machine.js";
export type { Strategy } from "./plan-summary-types.js";
export type { Plan, PlanBytes, PlanOptions } from "./plan-types.js";

const mebibyte = 2 ** 20;
/** A context nobody asked for: this much when weights have to be streamed, and at most an eighth of the budget. */
const streamedContext = defaultContextTokens;
const leastContext = 512;
const kvShare = 1 / 8;
/** When everything fits: other programs want memory too, and few conversations fill a model's whole context. */
const residentKvShare = 1 / 4;
const checkpointShare = 1 / 8;
/** A request to plan for: prompts are several times as long as answers. */
const promptTokensPerAnswerToken = 8;

/** The case a choice is made for. */
interface Space {
  readonly budget: number;
  readonly contextTokens: number;
  readonly kvTokens: number;
  readonly maxRows: number;
}

/**
 * A smaller ring has to gain this much. Reads come unevenly, which a prediction does not know and a larger ring evens
 * out: 8B with 0.56 GB streamed took 0.29 s a token with 24 MiB and 0.25 with 48, where both were predicted alike.
 */
const worthSmaller = 1.03;

/** A choice of everything that only changes speed. */
interface Choice {
  readonly cost: number;
  readonly strategy: Strategy;
  readonly bytes: PlanBytes;
  readonly maxRows: number;
  readonly contextTokens: number;
  readonly kvTokens: number;
  readonly pinned: Int32Array;
  readonly ring: Ring;
  readonly slotClasses: readonly SlotClass[];
  readonly checkpoints: number;
  readonly prediction: Prediction;
}

export class Planner {
  readonly model: PlanModel;
  readonly machine: MachineProfile;
  readonly #options: PlanOptions;
  readonly #fixed: FixedMemory;

  constructor(description: ModelDescription, machine: MachineProfile, options: PlanOptions = {}) {
    this.model = planModel(description, options.programs);
    this.machine = machine;
    this.#options = options;
    this.#fixed = new FixedMemory(this.model, machine.threads, options);
  }

  get #kvType(): KvCacheType {
    return this.#options.kvType ?? "f16";
  }

  /** @throws MEMORY_BUDGET, naming the smallest budget that works; OPTION_INVALID */
  plan(budgetBytes: number = this.#options.budgetBytes ?? this.machine.availableBytes): Plan {
    const found = this.tryPlan(budgetBytes);
    if (found !== undefined) return found;
    const least = this.minimumBudgetBytes();
    const mib = (bytes: number) => `${Math.ceil(bytes / mebibyte)} MiB`;
    throw new HundredweightError(
      "MEMORY_BUDGET",
      this.#options.weightsMemoryBytes !== undefined && least === Infinity
        ? `${mib(this.#options.weightsMemoryBytes)} of weights memory are not enough: the ring or the ` +
            `expert slots do not fit`
        : `the model cannot run in ${mib(budgetBytes)}${this.#source(budgetBytes)}; the smallest budget ` +
            `that works is ${mib(least)}` +
            this.#remedy(budgetBytes, least) +
            (this.#options.contextTokens === undefined
              ? ""
              : ` with a context of ${this.#options.contextTokens} tokens, less with a smaller --ctx`),
      { budgetBytes, minimumBudgetBytes: least },
    );
  }

  /** Where a budget nobody named comes from. */
  #source(budgetBytes: number): string {
    const { availableBytes, ceiling } = this.machine;
    if (ceiling === undefined || budgetBytes !== availableBytes) return "";
    return (
      `, what is free below ${ceiling.name} of ${sizeOf(ceiling.bytes)} ` +
      `(others use ${sizeOf(ceiling.othersBytes)}, ${sizeOf(ceiling.marginBytes)} are kept for them)`
    );
  }

  /** Advice when even the default, which leaves something to others, is too small. */
  #remedy(budgetBytes: number, least: number): string {
    const { availableBytes, ceiling } = this.machine;
    if (ceiling === undefined || budgetBytes !== availableBytes) return "";
    if (least > availableBytes + ceiling.marginBytes) return ": end other programs or raise the limit";
    return `: --memory ${Math.ceil(least / mebibyte)}MiB leaves less to others`;
  }

  /** Undefined when nothing fits. */
  tryPlan(budgetBytes: number): Plan | undefined {
    const contexts =
      this.#options.contextTokens === undefined ? this.#contexts(budgetBytes) : [this.#options.contextTokens];
    let choice: Choice | undefined;
    for (const contextTokens of contexts)
      choice ??= this.#best(budgetBytes, contextTokens, this.#kvTokens(contextTokens, budgetBytes));
    if (choice === undefined) return undefined;
    const { trunk } = this.model;
    const { strategy, bytes, maxRows, contextTokens, kvTokens, pinned, ring, slotClasses, prediction } = choice;
    const { checkpoints } = choice;
    return {
      strategy,
      budgetBytes,
      bytes,
      totalBytes: sumOf(bytes),
      contextTokens,
      kvTokens,
      kvType: this.#kvType,
      kvColdBytes: this.#fixed.kvColdBytes(contextTokens, kvTokens, maxRows),
      checkpoints,
      maxRows,
      matrices: trunk,
      pinned,
      ring,
      program: ring.slots === 0 ? [] : tileProgram(trunk, pinned, ring),
      slotClasses,
      expertPolicy,
      prediction,
      notes: this.#notes(choice),
    };
  }

  /** Exact to 1 MiB; Infinity when no budget helps (a weights memory that is too small). */
  minimumBudgetBytes(): number {
    const { contextTokens } = this.#options;
    const context = contextTokens ?? Math.min(leastContext, this.model.description.config.contextTokens);
    const kvTokens = this.#kvTokens(context, 0);
    const works = (mebibytes: number) => this.#best(mebibytes * mebibyte, context, kvTokens, true) !== undefined;
    let high = 64;
    while (!works(high)) {
      high *= 2;
      if (high > 2 ** 30) return Infinity;
    }
    let low = 0;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (works(middle)) high = middle;
      else low = middle;
    }
    return high * mebibyte;
  }

  /** Smallest budget with everything in memory at this context. */
  residentBudgetBytes(contextTokens: number, kvTokens = this.#kvTokens(contextTokens, 0)): number {
    const rows = this.#mostRows(contextTokens);
    return this.#fixed.bytes(contextTokens, kvTokens, rows).total + this.model.trunkBytes + this.model.expertBytes;
  }

  /** To be tried in turn: the largest that leaves everything in memory; under streaming a modest one, or less. */
  #contexts(budget: number): number[] {
    const trained = this.model.description.config.contextTokens;
    const halvings = (from: number) => {
      const list: number[] = [];
      for (let c = from; c > leastContext; c = Math.ceil(c / 2)) list.push(c);
      return [...list, Math.min(from, leastContext)];
    };
    const fits = (c: number) =>
      this.#options.weightsMemoryBytes === undefined &&
      this.residentBudgetBytes(c) <= budget &&
      this.#fixed.kvBytes(c, this.#options.kvTokens ?? c) <= residentKvShare * budget;
    const resident = halvings(trained).find(fits);
    if (resident !== undefined && resident >= Math.min(trained, streamedContext)) return [resident];
    const modest = halvings(Math.min(trained, streamedContext));
    const affordable = modest.filter((c) => this.#fixed.kvBytes(c, this.#options.kvTokens ?? c) <= kvShare * budget);
    return affordable.length > 0 ? affordable : modest.slice(-1);
  }

  /** Several sequences get as much as stays free when everything is in memory; streaming, weights are worth more. */
  #kvTokens(contextTokens: number, budget: number): number {
    const { sequences = 1, kvTokens } = this.#options;
    if (kvTokens !== undefined) return Math.max(kvTokens, contextTokens);
    for (let tokens = sequences * contextTokens; tokens > contextTokens; tokens = Math.ceil(tokens / 2)) {
      if (this.#options.weightsMemoryBytes !== undefined || this.residentBudgetBytes(contextTokens, tokens) > budget)
        continue;
      if (this.#fixed.kvBytes(contextTokens, tokens) <= residentKvShare * budget) return tokens;
    }
    return contextTokens;
  }

  #best(budget: number, contextTokens: number, kvTokens: number, any = false): Choice | undefined {
    let best: Choice | undefined;
    const most = this.#mostRows(contextTokens);
    const least = this.model.description.whole ? most : 1;
    for (let maxRows = most; maxRows >= least; maxRows = Math.floor(maxRows / 2)) {
      const space: Space = { budget, contextTokens, kvTokens, maxRows };
      const resident = this.#resident(space);
      if (resident !== undefined && (any || best === undefined || resident.cost < best.cost)) best = resident;
      if (best !== undefined && any) return best;
      // Nothing streams in passes of fewer rows either, and they cost no less.
      if (resident !== undefined) break;
      for (const ring of this.#rings()) {
        const smaller = best !== undefined && ring.bytes < best.ring.bytes;
        const toBeat = (best?.cost ?? Infinity) / (smaller ? worthSmaller : 1);
        const choice = this.#choose(space, ring, any ? Infinity : toBeat);
        if (choice === undefined) continue;
        if (any) return choice;
        best = choice;
      }
    }
    return best;
  }

  /** A text whose rows see each other is in one pass, however long it is. */
  #mostRows(contextTokens: number): number {
    const rows = this.#options.rows ?? (this.model.description.whole ? contextTokens : defaultChunkRows);
    return Math.min(rows, contextTokens);
  }

  /**
   * Every ring worth a look; the small ones matter close to the size of the file, where each MiB is streamed instead.
   */
  #rings(): readonly Ring[] {
    if (this.#ringList !== undefined) return this.#ringList;
    const { trunk, expertLayers } = this.model;
    const widest = [...trunk, ...expertLayers.flatMap((l) => l.matrices)];
    const largestSlice = widest.reduce((most, m) => Math.max(most, m.slices.bytes + edgeBytes(m)), 0);
    const found = new Map<string, Ring>();
    for (const bytes of this.#options.ringBytes === undefined ? ringSizes : [this.#options.ringBytes])
      for (const tileBytes of tileSizes) {
        const ring = makeRing(bytes, largestSlice, tileBytes, this.machine);
        found.set(`${ring.slots} ${ring.slotBytes}`, ring);
      }
    this.#ringList = [...found.values()];
    return this.#ringList;
  }
  #ringList: readonly Ring[] | undefined;

  #resident(space: Space): Choice | undefined {
    const { trunk, trunkBytes, expertBytes } = this.model;
    if (this.#room(space) < trunkBytes + expertBytes) return undefined;
    return this.#finish(space, { strategy: "resident", pinned: everySlice(trunk), ring: noRing, slotClasses: [] });
  }

  /** Bytes the fixed part leaves for weights and ring. */
  #room({ budget, contextTokens, kvTokens, maxRows }: Space): number {
    const fixed = this.#fixed.bytes(contextTokens, kvTokens, maxRows);
    return Math.min(budget - fixed.total, this.#options.weightsMemoryBytes ?? Infinity);
  }

  /** Undefined when it does not fit, or costs as much as `toBeat`. */
  #choose(space: Space, ring: Ring, toBeat: number): Choice | undefined {
    const { trunk, trunkBytes, expertLayers, topK } = this.model;
    const afterRing = this.#room(space) - ring.bytes;
    const least = leastSlotBytes(expertLayers, topK);
    if (afterRing < least) return undefined;
    const strategy = expertLayers.length === 0 ? "streamed" : "experts";
    const forTrunk = afterRing - least;
    const whole = expertLayers.length > 0 && forTrunk >= trunkBytes;
    const slotClasses =
      expertLayers.length === 0 ? [] : makeSlots(expertLayers, topK, whole ? afterRing - trunkBytes : least);
    // Most candidates lose by what no ring can hide: placing rows and following the pass is left out for them.
    const trunkStreamedBytes = whole ? 0 : Math.max(0, trunkBytes - forTrunk);
    const bound = this.#predict(space, { ring, slotClasses, expertsResident: false, trunkStreamedBytes });
    if (costOf(bound) >= toBeat) return undefined;
    const pinned = whole ? everySlice(trunk) : this.#place(forTrunk);
    const choice = this.#finish(space, { strategy, pinned, ring, slotClasses });
    return choice.cost < toBeat ? choice : undefined;
  }

  /** Tiles of several sizes share a placement. */
  #place(room: number): Int32Array {
    if (this.#placed?.room !== room) this.#placed = { room, pinned: placeTrunk(this.model.trunk, room) };
    return this.#placed.pinned;
  }
  #placed: { readonly room: number; readonly pinned: Int32Array } | undefined;

  #finish(space: Space, weights: Pick<Choice, "strategy" | "pinned" | "ring" | "slotClasses">): Choice {
    const { trunk, trunkBytes, expertBytes } = this.model;
    const { contextTokens, kvTokens, maxRows } = space;
    const { strategy, pinned, ring, slotClasses } = weights;
    const fixed = this.#fixed.bytes(contextTokens, kvTokens, maxRows);
    const { vectors, adapters, kv, activations, tokenizer, constraints, pasts, runtime } = fixed;
    const pinnedBytes = trunk.reduce((total, m, i) => total + pinned[i]! * m.slices.bytes, 0);
    const expertsResident = strategy === "resident";
    const prediction = this.#predict(space, {
      ring,
      slotClasses,
      expertsResident,
      trunkStreamedBytes: trunkBytes - pinnedBytes,
      pinned,
    });
    const bytes: PlanBytes = {
      pinned: vectors + pinnedBytes + (expertsResident ? expertBytes : 0),
      adapters,
      expertSlots: slotClasses.reduce((total, c) => total + c.slots * c.slotBytes, 0),
      ring: ring.bytes,
      kv,
      activations,
      tokenizer,
      constraints,
      pasts,
      runtime,
    };
    const more = expertsResident ? this.#moreCheckpoints(space.budget, sumOf(bytes)) : 0;
    const checkpoints = this.#fixed.checkpoints + more;
    const all = { ...bytes, kv: kv + more * this.#fixed.slotBytes };
    return {
      ...weights,
      cost: costOf(prediction),
      bytes: all,
      maxRows,
      contextTokens,
      kvTokens,
      checkpoints,
      prediction,
    };
  }

  /** Checkpoints of what is left when everything is in memory: it costs no weights. */
  #moreCheckpoints(budget: number, planned: number): number {
    const { slotBytes, checkpoints } = this.#fixed;
    const { sequences = 1, checkpointBytes } = this.#options;
    if (slotBytes === 0 || checkpointBytes !== undefined) return 0;
    const affordable = Math.floor(Math.min(budget - planned, budget * checkpointShare) / slotBytes);
    return Math.max(0, Math.min(8 + 2 * sequences - checkpoints, affordable));
  }

  #predict(
    { contextTokens, kvTokens, maxRows }: Space,
    weights: Pick<PredictionInput, "ring" | "slotClasses" | "expertsResident" | "trunkStreamedBytes" | "pinned">,
  ): Prediction {
    return predict({
      ...weights,
      model: this.model,
      machine: this.machine,
      kvBytesPerToken: this.#fixed.kvBytesPerToken(contextTokens, kvTokens, maxRows),
      slotBytes: this.#fixed.slotBytes,
      contextTokens,
      maxRows,
      sequences: this.#options.sequences ?? 1,
    });
  }

  #notes({ strategy, pinned, maxRows, bytes, contextTokens, kvTokens, prediction }: Choice): string[] {
    const { trunk, trunkBytes, description, programs, beside } = this.model;
    const notes: string[] = [];
    if (programs.length > 0)
      notes.push(
        `${programs.length === 1 ? "a block" : `${programs.length} blocks`} of the file guess${
          programs.length === 1 ? "es" : ""
        } ahead: ${sizeOf(sumBytes(beside))} of weights in memory that passes of the trunk do not read`,
      );
    const pinnedBytes = trunk.reduce((total, m, i) => total + pinned[i]! * m.slices.bytes, 0);
    if (strategy === "experts" && pinnedBytes < trunkBytes)
      notes.push(
        `not even the trunk fits: ${percent(pinnedBytes / trunkBytes)} of it is pinned, the rest is ` +
          `streamed as in a dense ` +
          "model, and slots hold only the experts of one layer at a time",
      );
    if (this.#options.contextTokens === undefined && contextTokens < description.config.contextTokens)
      notes.push(
        `context of ${count(contextTokens)} tokens of the ${count(description.config.contextTokens)} it was ` +
          `trained for`,
      );
    if (maxRows < this.#mostRows(contextTokens))
      notes.push(`passes of at most ${maxRows} token rows, to leave memory to weights`);
    const cold = this.#fixed.kvColdBytes(contextTokens, kvTokens, maxRows);
    if (cold > 0) {
      const perToken = this.#fixed.kvBytesPerToken(contextTokens, kvTokens, maxRows);
      const read = (cold * contextTokens) / kvTokens;
      const full = (prediction.streamedBytesPerPass + read) / this.machine.diskReadBytesPerSecond;
      notes.push(
        `about ${count(Math.floor((kvTokens * perToken - cold) / perToken))} positions of the KV cache are in ` +
          `memory, the others on the disk: at the end of a full context a token reads ${sizeOf(Math.round(read))} of ` +
          `them and takes at least ${Math.max(full, prediction.computeSeconds).toFixed(2)} s`,
      );
    }
    if (bytes.kv > bytes.pinned + bytes.expertSlots) notes.push("the KV cache takes more than the weights in memory");
    return notes;
  }
}

const costOf = ({ secondsPerToken, prefillTokensPerSecond }: Prediction) =>
  secondsPerToken + promptTokensPerAnswerToken / prefillTokensPerSecond;

const everySlice = (trunk: readonly PlanMatrix[]) => Int32Array.from(trunk, (m) => m.slices.count);

const count = (tokens: number) => tokens.toLocaleString("en-US");

export const percent = (share: number) => `${Math.round(100 * share)} %`;
