/**
 * How good is the choice of experts that stay? Records which experts a model wants, token by token, and replays that
 * trace against other rules with the same slots.
 *
 *   node dist/bench/expert-cache.js MODEL [--memory 6GiB,10GiB] [-n 200] [--ctx 512] [--warm 50] [--seed 1]
 *     [--json FILE]
 *
 * Tokens are drawn at random from the vocabulary: a random model's own answers soon repeat themselves, and with them
 * its experts. Rates count the passes after `--warm`. LRU: of the same size class, what was used longest ago goes; all
 * rules see the layers of a pass in order. Belady: what will be used last goes, which no rule can beat that does not
 * know the future. Ours is what the slots themselves counted; an expert read ahead counts as missed.
 */
import { parseBytes } from "../src/cli/options/options.js";
import { openCheckpoint } from "../src/containers/index.js";
import { bindModel, describeModel } from "../src/models/index.js";
import { createOps } from "../src/ops/index.js";
import type { ExpertWeights, Glu, Routing, Tensor } from "../src/ops/ops.js";
import { Planner } from "../src/weights/plan.js";
import { knownMachine } from "../src/weights/probe.js";
import { openResidency } from "../src/weights/residency.js";
import { commaList, readArguments, saveJson } from "./support/program.js";
import { type Access, belady, lru } from "./support/replay.js";

const { values, path } = readArguments("expert-cache MODEL [--memory 6GiB,10GiB] [-n 200]", {
  memory: { type: "string", default: "6GiB" },
  tokens: { type: "string", short: "n", default: "200" },
  warm: { type: "string", default: "50" },
  ctx: { type: "string", default: "512" },
  seed: { type: "string", default: "1" },
  json: { type: "string" },
});
const tokens = Number(values.tokens);
const warm = Number(values.warm);
const contextTokens = Number(values.ctx);
if (tokens > contextTokens || warm >= tokens) throw new Error("--warm < -n <= --ctx");
const checkpoint = await openCheckpoint(path);
const description = describeModel(checkpoint);
const known = knownMachine({ path });
const share = (rate: number): string => `${(100 * rate).toFixed(1)} %`;

const points: object[] = [];
for (const text of commaList(values.memory)) {
  const budgetBytes = parseBytes(text, "--memory");
  const planner = new Planner(description, known.profile, { contextTokens, rows: 64, budgetBytes });
  const plan = planner.plan();
  const { placement } = openResidency(planner.model, plan, { io: "direct", way: known.disk });
  if (placement?.experts === undefined) {
    console.log(`${text}: no expert slots, ${plan.strategy}`);
    continue;
  }
  const slotsOf = new Map(plan.slotClasses.flatMap((c, i) => c.layers.map((layer) => [layer, i] as const)));
  const sizes = plan.slotClasses.map((c) => c.slots);
  const layers = planner.model.expertLayers.map((l) => l.layer);
  const trace: Access[] = [];
  const ops = createOps({ placement });
  const inner = ops.experts.bind(ops);
  let call = 0;
  let measured = false;
  ops.experts = (out: Tensor, x: Tensor, routing: Routing, n: number, weights: ExpertWeights, kind: Glu): void => {
    const layer = layers[call++ % layers.length] as number;
    for (const expert of ops.readRouting(routing, n).ids)
      trace.push({ key: layer * 65536 + expert, group: slotsOf.get(layer) as number, measured });
    inner(out, x, routing, n, weights, kind);
  };
  const model = await bindModel(checkpoint, ops, {
    contextTokens,
    maxRows: 64,
    sequences: 1,
    kvType: "f16",
    maxLogitRows: 1,
  });
  const pages = Math.ceil(contextTokens / 256);
  const table = Int32Array.from({ length: pages }, (_, i) => i);
  const before = { hits: 0, misses: 0, ahead: 0, wasted: 0 };
  let word = Number(values.seed) >>> 0 || 1;
  for (let position = 0; position < tokens; position++) {
    // xorshift32
    word ^= word << 13;
    word ^= word >>> 17;
    word = (word ^ (word << 5)) >>> 0;
    measured = position >= warm;
    if (position === warm) {
      const { expertHits, expertMisses, expertsAhead, expertsWasted } = ops.traffic!();
      Object.assign(before, { hits: expertHits, misses: expertMisses, ahead: expertsAhead, wasted: expertsWasted });
    }
    const ids = Int32Array.of(word % description.config.vocab);
    const rows = { count: 1, ids, positions: Int32Array.of(position), sequences: Int32Array.of(0) };
    await model.forward({ ...rows, blockTables: model.kvGroups.map(() => [table]) }, new Int32Array(0), () => {});
  }
  const after = ops.traffic!();
  ops.close();
  const hits = after.expertHits - before.hits;
  const misses = after.expertMisses - before.misses;
  const point = {
    budget: text,
    slots: sizes,
    experts: plan.slotClasses.map((c) => c.experts),
    ours: hits / (hits + misses),
    lru: lru(trace, sizes),
    belady: belady(trace, sizes),
    readAheadOfMisses: (after.expertsAhead - before.ahead) / Math.max(1, misses),
    wastedPerMiss: (after.expertsWasted - before.wasted) / Math.max(1, misses),
  };
  points.push(point);
  console.log(
    `${text}: slots ${sizes.map((n, i) => `${n} of ${point.experts[i]}`).join(", ")}; hits: ours ` +
      `${share(point.ours)}, ` +
      `LRU ${share(point.lru)}, Belady ${share(point.belady)}; of the misses ${share(point.readAheadOfMisses)} were ` +
      `being read before their router spoke, ${share(point.wastedPerMiss)} more were read for nothing`,
  );
}
saveJson(values.json, { path, tokens, warm, points });
