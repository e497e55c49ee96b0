/** Mean divergences of many models from one, a few at a time. */
import type { Checkpoint } from "../../formats/index.js";
import { compareModels, type Domain, type Quality } from "../quality.js";
import { ScoredModel, type ScoringOptions } from "../scored-model.js";

export interface JudgeOptions extends ScoringOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Models beside the reference: it runs once for all of them. */
const mostAtOnce = 8;

export class Judge {
  private readonly reference: Checkpoint;
  private readonly options: JudgeOptions;

  constructor(reference: Checkpoint, options: JudgeOptions) {
    this.reference = reference;
    this.options = options;
  }

  /** @throws what opening and comparing throw */
  async compare(models: readonly Checkpoint[], domains: readonly Domain[]): Promise<Quality> {
    const { signal, chunkTokens, together = 1 } = this.options;
    const opened = await ScoredModel.openAll([this.reference, ...models], this.options);
    try {
      return await compareModels(opened[0]!, opened.slice(1), domains, {
        chunkTokens,
        together,
        ...(signal && { signal }),
      });
    } finally {
      for (const model of opened) model.close();
    }
  }

  /**
   * Mean divergence of each model.
   * @param modelOf makes the model when its turn comes
   */
  async divergences(
    count: number,
    modelOf: (index: number) => Promise<Checkpoint>,
    domains: readonly Domain[],
    onDone: (done: number) => void = () => {},
  ): Promise<number[]> {
    const found: number[] = [];
    while (found.length < count) {
      const models: Checkpoint[] = [];
      while (models.length < Math.min(this.atOnce, count - found.length))
        models.push(await modelOf(found.length + models.length));
      const { all } = await this.compare(models, domains);
      found.push(...all.models.map(({ kl }) => kl.mean));
      onDone(found.length);
    }
    return found;
  }

  /** As many as stay in memory beside the reference. */
  private get atOnce(): number {
    const { memoryBytes = 2 ** 32 } = this.options;
    return Math.max(1, Math.min(mostAtOnce, Math.floor(memoryBytes / this.reference.tensorBytes) - 1));
  }
}
