/** Jinja as Hugging Face runs chat templates: Python's semantics, a sandbox, and the origin of every piece of text. */
import { compileBlock } from "./compile.js";
import type { Execute } from "./execute.js";
import { type Limits, usualLimits, withLimits } from "./limits.js";
import { parseTemplate } from "./parse.js";
import { type Environment, Runtime } from "./runtime.js";
import type { Str } from "./text.js";
import type { Dict } from "./values.js";

export { type FaultKind, type PassedLimit, TemplateFault } from "./errors.js";
export { fromJs } from "./from-js.js";
export { readJson } from "./json.js";
export { type Limits, usualLimits } from "./limits.js";
export { strftime } from "./strftime.js";
export { type Origin, originsOf, plain, type Str } from "./text.js";
export { Dict, type Value } from "./values.js";

const ordinary: Environment = { now: () => new Date(), random: Math.random };

export interface Rendering {
  readonly limits?: Limits;
  /** Characters of the values, which widen the limits. */
  readonly inputLength?: number;
  readonly environment?: Partial<Environment>;
}

export class JinjaTemplate {
  private readonly body: Execute;

  /** @throws TemplateFault (TemplateSyntaxError) */
  constructor(source: string) {
    this.body = withLimits(usualLimits, source.length, () => compileBlock(parseTemplate(source)));
  }

  /** @throws TemplateFault */
  render(values: Dict, { limits = usualLimits, inputLength = 0, environment = {} }: Rendering = {}): Str {
    return withLimits(limits, inputLength, () => {
      const runtime = new Runtime(values, { ...ordinary, ...environment });
      this.body(runtime);
      return runtime.finish();
    });
  }
}
