/** All verbs by name, for `Ops` that do one thing with each of them: a clock around it, or a refusal. */
import type { Ops, Verbs } from "./ops.js";

export type Verb = keyof Verbs;

const names: Readonly<Record<Verb, true>> = {
  begin: true,
  embed: true,
  rmsNorm: true,
  headNorm: true,
  matmul: true,
  lowRank: true,
  rope: true,
  kvStore: true,
  attention: true,
  select: true,
  shortConv: true,
  recur: true,
  compress: true,
  replay: true,
  glu: true,
  route: true,
  experts: true,
  expectExperts: true,
  add: true,
  scale: true,
  softcap: true,
  layerNorm: true,
  act: true,
  multiply: true,
  multiplyVector: true,
  addVector: true,
  columns: true,
  blend: true,
  streamScores: true,
  hyperWeights: true,
  headDots: true,
  temper: true,
  centreHeads: true,
  xielu: true,
  sparsify: true,
  matchSize: true,
  pool: true,
  gather: true,
  copy: true,
  read: true,
  write: true,
  readRouting: true,
  kvCopyPage: true,
};

/** Makes every verb; one for which `make` gives nothing is absent. */
export function mapVerbs(make: (verb: Verb) => unknown): Verbs {
  const made = Object.keys(names).map((verb) => [verb, make(verb as Verb)] as const);
  return Object.fromEntries(made.filter(([, run]) => run !== undefined)) as unknown as Verbs;
}

/**
 * The same Ops, with something around each verb.
 * @param around is given a verb and what runs it; returns what is to run instead
 */
export function wrapOps(inner: Ops, around: (verb: Verb, run: (...args: never[]) => unknown) => unknown): Ops {
  return {
    name: inner.name,
    arena: (floats) => inner.arena(floats),
    tensor: (rows, cols, arena, offset) => inner.tensor(rows, cols, arena, offset),
    routing: (rows, topK) => inner.routing(rows, topK),
    vector: (values) => inner.vector(values),
    matrix: (source) => inner.matrix(source),
    loadVector: (source) => inner.loadVector(source),
    kvPool: (spec) => inner.kvPool(spec),
    slotPool: (spec) => inner.slotPool(spec),
    ropeTable: (spec, maxRows) => inner.ropeTable(spec, maxRows),
    seal: (space) => inner.seal(space),
    close: () => inner.close(),
    ...mapVerbs((verb) => {
      const run = inner[verb] as ((...args: never[]) => unknown) | undefined;
      return run === undefined ? undefined : around(verb, run.bind(inner));
    }),
  };
}
