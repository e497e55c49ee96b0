/** The commands, one file each. A command file exports `register(program)`. */
import type { Command } from "commander";
import { register as bench } from "./bench.js";
import { register as chat } from "./chat.js";
import { register as doctor } from "./doctor.js";
import { register as inspect } from "./inspect.js";
import { register as logits } from "./logits.js";
import { register as perplexity } from "./perplexity.js";
import { register as plan } from "./plan.js";
import { register as run } from "./run.js";
import { register as serve } from "./serve.js";
import { register as synth } from "./synth.js";
import { register as tokenize } from "./tokenize.js";

export const commands: readonly ((program: Command) => void)[] = [
  inspect,
  run,
  chat,
  logits,
  perplexity,
  bench,
  doctor,
  tokenize,
  serve,
  synth,
  plan,
];
