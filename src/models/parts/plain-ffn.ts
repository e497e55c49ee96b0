/** Dense feed-forward without a gate: down(act(up(x))).  @source Vaswani et al. 2017, section 3.3 */
import type { Activation, Xielu } from "../../ops/ops.js";
import type { Part } from "../flow/flow.js";
import type { Bias } from "../flow/tensors.js";

export interface PlainFfnOptions {
  readonly dim: number;
  readonly hidden: number;
  readonly act: Activation | Xielu;
  readonly bias?: Bias;
  /** Behind the names of its tensors: `_shexp` of a shared expert. */
  readonly suffix?: string;
}

export const plainFfn =
  ({ dim, hidden, act, bias = "none", suffix = "" }: PlainFfnOptions): Part =>
  (f, x) => {
    const up = f.linear(x, f.matrix(`ffn_up${suffix}`, dim, hidden, "ffn", { gain: 1.1, bias }))[0]!;
    const hiddenRows = typeof act === "string" ? f.act(up, act) : f.xielu(up, act);
    return f.linear(hiddenRows, f.matrix(`ffn_down${suffix}`, hidden, dim, "ffn", { gain: 1.4, bias }))[0]!;
  };
