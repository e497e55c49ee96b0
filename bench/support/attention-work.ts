/** Measures the work of attention to a past, for the floor of what a pass could take. */
import type { Model } from "../../src/library/model.js";

export interface AttentionWork {
  readonly bytes: number;
  readonly operations: number;
}

/**
 * The work that one pass adds behind `depth` positions, of a model that was loaded with `profile: "times"`. The past's
 * own page may be evaluated in part before it, whatever the number of passes.
 */
export async function attentionWork(model: Model, depth: number): Promise<AttentionWork> {
  const after = async (passes: number) => {
    await model.profile();
    await model.measure(0, passes, { depth });
    const entries = (await model.profile()).phases.at(-1)?.entries ?? [];
    const attention = entries.filter(({ name }) => name.startsWith("attention"));
    return (key: keyof AttentionWork) => attention.reduce((sum, entry) => sum + entry[key], 0);
  };
  const [one, two] = [await after(1), await after(2)];
  return { bytes: two("bytes") - one("bytes"), operations: two("operations") - one("operations") };
}
