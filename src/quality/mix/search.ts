/**
 * The types of a file of so many bytes that leave the model nearest to itself: candidate errors by the real encoders,
 * what they cost by measured divergence, a price per byte, then trials of the same size that are measured as a whole.
 */
import { type Mix, mixes } from "../../compress/mix.js";
import { planQuantize, type QuantizePlan, type QuantizeWishes } from "../../compress/quantize-model.js";
import { HundredweightError } from "../../errors.js";
import type { Checkpoint, GgufCheckpoint } from "../../formats/index.js";
import { Rng } from "../../sampling/rng.js";
import type { Domain } from "../quality.js";
import type { Candidate, Choice } from "./candidates.js";
import { type Group, groupsOf, probeOf, weightsOf } from "./groups.js";
import type { Judge } from "./judge.js";
import { fileBytes } from "./outlook.js";
import type { EncodedPool } from "./pool.js";
import { type Assignment, solve } from "./solve.js";

/** A mix of llama.cpp and the size of its file. */
export interface Preset {
  readonly mix: Mix;
  readonly plan: QuantizePlan;
  readonly bytes: number;
}

/** Presets of less than this share of the size are no rivals. */
const rivalShare = 0.85;
const mostRivals = 4;

/** All that can be made of a model, the largest first. */
export function presetsOf(checkpoint: GgufCheckpoint, wishes: Omit<QuantizeWishes, "mix">): Preset[] {
  const found = mixes
    .filter((mix) => !["F32", "F16", "BF16"].includes(mix))
    .map((mix) => ({ mix, plan: planQuantize(checkpoint, { ...wishes, mix }) }))
    .filter(({ plan }) => plan.lacking.length === 0)
    .map(({ mix, plan }) => ({ mix, plan, bytes: fileBytes(plan) }));
  return found.sort((a, b) => b.bytes - a.bytes);
}

/** Those a file of so many bytes is compared with: the largest that are no larger. */
export function rivalsOf(presets: readonly Preset[], bytes: number): Preset[] {
  const fitting = presets.filter((preset) => preset.bytes <= bytes);
  return fitting.filter((preset) => preset.bytes >= rivalShare * fitting[0]!.bytes).slice(0, mostRivals);
}

/** Divergence of the model with each group made worse, for a number of bits. */
export interface Sensitivities {
  readonly bits: number;
  readonly groups: readonly { readonly name: string; readonly kl: number }[];
}

/** @throws FORMAT_INVALID for a text that no `mix` has written */
export function parseSensitivities(path: string, text: string): Sensitivities {
  const invalid = (cause?: unknown) =>
    new HundredweightError("FORMAT_INVALID", `${path}: no sensitivities of groups`, { path }, { cause });
  let found: Partial<Sensitivities> | null;
  try {
    found = JSON.parse(text) as Partial<Sensitivities> | null;
  } catch (cause) {
    throw invalid(cause);
  }
  const { bits, groups } = found ?? {};
  if (typeof bits !== "number" || !Array.isArray(groups)) throw invalid();
  for (const group of groups as Partial<Sensitivities["groups"][number]>[])
    if (typeof group?.name !== "string" || typeof group.kl !== "number") throw invalid();
  return { bits, groups };
}

export interface MixSearch {
  readonly checkpoint: Checkpoint;
  readonly choices: readonly Choice[];
  readonly pool: EncodedPool;
  readonly judge: Judge;
  /** Texts that trials are judged by. */
  readonly domains: readonly Domain[];
  /** Whether a file may be of these types; absent: all of the size may. */
  readonly fits?: ((assignment: Assignment) => boolean) | undefined;
  readonly signal?: AbortSignal;
  readonly onStep?: (what: string, done: number, total: number) => void;
}

/** The model with these candidates. */
export function trialOf({ pool, choices, signal }: MixSearch, assignment: Assignment): Promise<Checkpoint> {
  const tensors = choices.map(({ planned }, i) => ({ planned, dtype: assignment[i]!.dtype }));
  return pool.modelOf(tensors, signal);
}

export async function measureGroups(search: MixSearch, bits: number): Promise<Sensitivities> {
  const { choices, judge, domains, pool, signal, onStep } = search;
  const groups = groupsOf(choices);
  const kls = await judge.divergences(
    groups.length,
    (g) => {
      const worse = groups[g]!.members.map((i) => ({
        planned: choices[i]!.planned,
        dtype: probeOf(choices[i]!, bits).dtype,
      }));
      return pool.modelOf(worse, signal);
    },
    domains,
    (done) => onStep?.("groups", done, groups.length),
  );
  return { bits, groups: groups.map(({ name }, g) => ({ name, kl: kls[g]! })) };
}

/** @throws OPTION_INVALID for sensitivities of another model */
export function weightsBy(choices: readonly Choice[], { bits, groups: measured }: Sensitivities): number[] {
  const groups = groupsOf(choices);
  const kls = groups.map(({ name }) => measured.find((group) => group.name === name)?.kl ?? Number.NaN);
  const missing = groups.find((_, g) => !Number.isFinite(kls[g]!));
  if (missing !== undefined)
    throw new HundredweightError(
      "OPTION_INVALID",
      `the sensitivities say nothing of ${missing.name}: of another model`,
    );
  const probes = choices.map((choice) => probeOf(choice, bits));
  return weightsOf(choices, groups, probes, kls);
}

export interface Trial {
  readonly assignment: Assignment;
  readonly kl: number;
}

/** Assignments that a round of trials measures together. */
const trialsOfRound = 7;
/** Spread of the logarithms of the weights in the first round; later rounds look nearer. */
const firstSpread = 0.5;

/**
 * Trials of equal size: the weights of groups are changed at random, what they lead to is measured, and the best goes
 * on. Every trial fits the bytes exactly, since each is solved anew.
 * @param starts assignments to begin with, such as what was predicted and a preset
 */
export async function improve(
  search: MixSearch,
  weights: readonly number[],
  starts: readonly Assignment[],
  budget: number,
  rounds: number,
): Promise<Trial> {
  const { choices, judge, domains, onStep, fits = () => true } = search;
  const groups = groupsOf(choices);
  const rng = new Rng(7);
  const measure = async (assignments: readonly Assignment[]): Promise<Trial[]> => {
    const kls = await judge.divergences(assignments.length, (i) => trialOf(search, assignments[i]!), domains);
    return assignments.map((assignment, i) => ({ assignment, kl: kls[i]! }));
  };
  const better = (a: Trial, b: Trial) => (b.kl < a.kl ? b : a);
  let best = (await measure(starts)).reduce(better);
  let centre = [...weights];
  for (let round = 0; round < rounds; round++) {
    const spread = firstSpread * 0.8 ** round;
    const tried = Array.from({ length: trialsOfRound }, () => changed(groups, centre, spread, rng));
    const solved = tried
      .map((own) => ({ own, assignment: solve(choices, own, budget)! }))
      .filter(({ assignment }) => fits(assignment));
    const found = await measure(solved.map(({ assignment }) => assignment));
    const winner = found.reduce(better, best);
    if (winner !== best) {
      best = winner;
      centre = solved[found.indexOf(winner)]!.own;
    }
    onStep?.("trials of the same size", round + 1, rounds);
  }
  return best;
}

function changed(groups: readonly Group[], weights: readonly number[], spread: number, rng: Rng): number[] {
  const own = [...weights];
  for (const { members } of groups) {
    // Two uniform numbers make one of a normal distribution.
    const normal = Math.sqrt(-2 * Math.log(1 - rng.uniform())) * Math.cos(2 * Math.PI * rng.uniform());
    for (const i of members) own[i] = own[i]! * Math.exp(spread * normal);
  }
  return own;
}

/** A preset as candidates; undefined where it has a type that was not looked at. */
export function assignmentOf(choices: readonly Choice[], preset: Preset): Assignment | undefined {
  const types = new Map(preset.plan.tensors.map(({ tensor, to }) => [tensor.name, to]));
  const found: Candidate[] = [];
  for (const { planned, all } of choices) {
    const candidate = all.find(({ dtype }) => dtype === types.get(planned.tensor.name));
    if (candidate === undefined) return undefined;
    found.push(candidate);
  }
  return found;
}

/** The plan that writes an assignment. */
export function planWith(
  checkpoint: GgufCheckpoint,
  wishes: QuantizeWishes,
  choices: readonly Choice[],
  assignment: Assignment,
): QuantizePlan {
  const byType = new Map<Candidate["dtype"], string[]>();
  for (const [i, { planned }] of choices.entries()) {
    const { dtype } = assignment[i]!;
    byType.set(dtype, [...(byType.get(dtype) ?? []), planned.tensor.name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")]);
  }
  const named = [...byType].map(([dtype, names]) => ({ pattern: new RegExp(`^(${names.join("|")})$`), dtype }));
  return planQuantize(checkpoint, { ...wishes, named });
}
