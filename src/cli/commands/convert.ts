/** `convert IN OUT`: the same model in another container. */
import type { Command } from "commander";
import { type ConvertPlan, convertModel, type WishedType, wishedTypes } from "../../convert/index.js";
import type { AdapterOption } from "../../engine/options.js";
import { HundredweightError } from "../../errors.js";
import { modelFile } from "../../store/model-word.js";
import { parseAdapter } from "../options/model-options.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, printJson, printText, tell } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";

interface ConvertFlags {
  readonly type?: WishedType;
  readonly inexact?: Exclude<WishedType, "keep">;
  readonly mergeLora?: readonly AdapterOption[];
  readonly verbose?: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("convert")
    .description("Write a model in another container; a conversion that was interrupted goes on where it was.")
    .argument(
      "<in>",
      "GGUF file, or any shard of a split one; a Hugging Face folder; an .apr file; a name in the store",
    )
    .argument("<out>", "the file to write: a name that ends in .gguf, .apr or .safetensors")
    .option(
      "--type <type>",
      `type of the matrices: ${wishedTypes.join(", ")} (default: keep, the type they have or one with the same values)`,
      (text) => parseType(text, "--type", wishedTypes),
    )
    .option("--inexact <type>", "under keep: the type of matrices whose values no type of the file holds", (text) =>
      parseType(
        text,
        "--inexact",
        wishedTypes.filter((type) => type !== "keep"),
      ),
    )
    .option(
      "--merge-lora <file[:scale]>",
      "make an adapter part of the matrices, which then are f32, f16 or bf16; several times: one after the other",
      (text: string, before: AdapterOption[] = []): AdapterOption[] => [...before, parseAdapter(text)],
    )
    .option("--verbose", "say of every tensor what it is made of")
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action(run);
}

function parseType<T extends string>(text: string, option: string, types: readonly T[]): T {
  const found = types.find((type) => type === text.toLowerCase());
  if (found !== undefined) return found;
  throw new HundredweightError("OPTION_INVALID", `${option}: '${text}' is none of ${types.join(", ")}`);
}

async function run(from: string, to: string, flags: ConvertFlags): Promise<void> {
  const progress = new Progress("writing", { forced: flags.progress, bytes: true });
  const began = performance.now();
  let plan: ConvertPlan | undefined;
  const done = await withInterrupt((signal) =>
    convertModel(modelFile(from), to, {
      signal,
      ...(flags.type !== undefined && { type: flags.type }),
      ...(flags.inexact !== undefined && { inexact: flags.inexact }),
      ...(flags.mergeLora !== undefined && { merge: flags.mergeLora }),
      onPlan: (made) => {
        plan = made;
        if (flags.json !== true) for (const line of planLines(made, flags.verbose === true)) tell(line);
      },
      onProgress: (bytes, total) => progress.update(bytes, total),
    }),
  ).finally(() => progress.end());
  const seconds = (performance.now() - began) / 1000;
  if (flags.json) {
    const tensors = plan?.tensors.map(({ name, dtype, shape, from: sources, changes, rounded }) => ({
      name,
      type: dtype.name,
      shape,
      from: sources.map((info) => ({ name: info.name, type: info.layout.name })),
      changes,
      rounded,
    }));
    const { architecture, leftOut, notes } = plan ?? {};
    printJson({ ...done, seconds, architecture, leftOut, ...(notes !== undefined && { notes }), tensors });
    return;
  }
  const resumed = done.resumedBytes === 0 ? "" : `, of which ${formatBytes(done.resumedBytes)} were there`;
  printText(`${to}: ${formatBytes(done.bytes)} in ${seconds.toFixed(1)} s${resumed}\n`);
}

/** The report of what becomes of what: a line for each pair of types, or for each tensor. */
function planLines({ architecture, tensors, leftOut, notes = [], bytes }: ConvertPlan, verbose: boolean): string[] {
  const lines = [`${architecture}, ${tensors.length} tensors, ${formatBytes(bytes)}`];
  if (verbose)
    for (const { name, dtype, shape, from, changes, rounded } of tensors) {
      const sources = from.map((info) => `${info.name} ${info.layout.name}`).join(" + ");
      const done = [...changes, ...(rounded ? ["rounded"] : [])];
      lines.push(
        `${name} [${shape.join(", ")}] ${dtype.name} <- ${sources}${done.length > 0 ? `: ${done.join(", ")}` : ""}`,
      );
    }
  else {
    const kinds = new Map<string, number>();
    for (const { dtype, from, changes, rounded } of tensors) {
      const done = [...changes, ...(rounded ? ["rounded"] : [])].join(", ");
      const line = `${from[0]!.layout.name} -> ${dtype.name}${done === "" ? "" : ` (${done})`}`;
      kinds.set(line, (kinds.get(line) ?? 0) + 1);
    }
    for (const [line, count] of kinds) lines.push(`${String(count).padStart(5)}  ${line}`);
  }
  if (leftOut.length > 0) {
    const shown = verbose ? leftOut : leftOut.slice(0, 8);
    lines.push(
      `left out, since the model does not use them: ${shown.join(", ")}${shown.length < leftOut.length ? ", ..." : ""}`,
    );
  }
  return [...lines, ...notes];
}
