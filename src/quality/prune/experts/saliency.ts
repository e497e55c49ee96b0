/**
 * How much each expert adds to the outputs of its layer: the mean over the tokens that chose it of its weight times
 * the norm of what it made.
 * @source Lasby et al. 2025, "REAP the Experts: Why Pruning Prevails for One-Shot MoE Compression"
 */
import { ExpertHidden } from "../../../compress/expert-hidden.js";
import { HundredweightError } from "../../../errors.js";
import type { Checkpoint } from "../../../formats/index.js";
import {
  describeModel,
  type ExpertLayer,
  expertLayers,
  type ModelDescription,
  withExpertTaps,
} from "../../../models/index.js";
import { type VisitOptions, visit } from "../visit.js";

export interface ExpertSaliency {
  readonly layer: number;
  /** [experts]; 0 for one that no token chose. */
  readonly scores: Float64Array;
  /** Tokens that chose it [experts]. */
  readonly tokens: Float64Array;
}

/** Reads the bytes of a model's experts. */
export const expertReader = ({ tensors }: ModelDescription): ExpertHidden =>
  new ExpertHidden(new Map(tensors.map(({ name, info }) => [name, info])));

/**
 * One visit of the text. What experts make is inside one call of a pass, so it is made a second time here, from the
 * bytes of the file: an expert's matrices are in memory one at a time.
 * @param chunks ids, each of `chunkTokens`
 * @returns of each layer with experts, ascending
 * @throws OPTION_INVALID for a model without experts that can be read, what a visit throws
 */
export async function expertSaliency(
  checkpoint: Checkpoint,
  chunks: Iterable<Int32Array>,
  options: VisitOptions,
): Promise<ExpertSaliency[]> {
  const description = describeModel(checkpoint);
  const hidden = expertReader(description);
  const layers = prunableLayers(description, hidden);
  const found = new Map(
    layers.map(({ layer, route: { routes } }) => [
      layer,
      { scores: new Float64Array(routes.experts), tokens: new Float64Array(routes.experts) },
    ]),
  );
  const listener = {
    scores: () => {},
    inputs: (layer: number, rows: Float32Array, experts: Parameters<ExpertHidden["each"]>[0]) => {
      const { scores, tokens } = found.get(layer)!;
      const { body, weights, weightsInput } = experts;
      hidden.each(experts, rows, ({ expert, slots, hidden: values }) => {
        const out = hidden.outputs(body, expert, values);
        const cols = body.down.rows;
        for (const [i, slot] of slots.entries()) {
          let squares = 0;
          for (let at = i * cols; at < (i + 1) * cols; at++) squares += out[at]! * out[at]!;
          scores[expert]! += Math.abs(weightsInput ? 1 : weights[slot]!) * Math.sqrt(squares);
        }
        tokens[expert]! += slots.length;
      });
    },
  };
  try {
    await visit(checkpoint, chunks, { ...options, rewrite: (program) => withExpertTaps(program, listener) });
  } finally {
    hidden.close();
  }
  return [...found]
    .map(([layer, { scores, tokens }]) => ({
      layer,
      scores: scores.map((sum, expert) => (tokens[expert]! > 0 ? sum / tokens[expert]! : 0)),
      tokens,
    }))
    .sort((a, b) => a.layer - b.layer);
}

/** @throws OPTION_INVALID where there are none, a table says who is chosen, or a type cannot be read */
export function prunableLayers({ program }: ModelDescription, hidden: ExpertHidden): ExpertLayer[] {
  const layers = expertLayers(program);
  if (layers.length === 0) throw refuse("this model has no experts");
  for (const { layer, route, call } of layers) {
    if (route.table !== null) throw refuse(`in layer ${layer} a table of the tokens says which experts are taken`);
    if (!hidden.knows(call.body)) throw refuse(`the experts of layer ${layer} have a type that cannot be read here`);
  }
  return layers;
}

export const refuse = (what: string): HundredweightError =>
  new HundredweightError("OPTION_INVALID", `--experts: ${what}`);

/**
 * The experts of each layer that stay, ascending: the best, of groups as many of each.
 * @throws OPTION_INVALID for a number that leaves no choice, or that groups cannot share
 */
export function keptExperts(
  layers: readonly ExpertLayer[],
  saliency: readonly ExpertSaliency[],
  keep: number,
): Map<number, Int32Array> {
  const kept = new Map<number, Int32Array>();
  for (const { layer, route } of layers) {
    const { experts } = route.routes;
    const { count, used } = route.spec.groups ?? { count: 1, used: 1 };
    if (keep >= experts) throw refuse(`${keep} of ${experts} would stay`);
    if (keep % count !== 0) throw refuse(`${keep} experts do not divide into the ${count} groups of layer ${layer}`);
    const most = (keep / count) * used;
    if (count > 1 && (keep / count < 2 || most < route.spec.topK))
      throw refuse(
        `${keep / count} experts a group are too few: ${used} groups are taken, and ${route.spec.topK} of them`,
      );
    const { scores } = saliency.find((one) => one.layer === layer)!;
    const all = Array.from({ length: experts }, (_, expert) => expert);
    const best = Array.from({ length: count }, (_, group) =>
      all
        .slice((group * experts) / count, ((group + 1) * experts) / count)
        .sort((a, b) => scores[b]! - scores[a]! || a - b)
        .slice(0, keep / count),
    );
    kept.set(layer, Int32Array.from(best.flat()).sort());
  }
  return kept;
}
