/** `hundredweight pull NAME`: fetch a model, with its plan for this machine before. */
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import { nameOf } from "../../store/local/types.js";
import { checkAlias } from "../../store/pull/names.js";
import type { Preview } from "../../store/pull/preview-types.js";
import { type PullProgress, pull } from "../../store/pull/pull.js";
import type { RemoteModel } from "../../store/pull/source.js";
import { parseBytes, parseInteger } from "../options/options.js";
import { previewLines } from "../reports/preview-report.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, note, printJson, printText, tell } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";

interface PullFlags {
  readonly as?: string;
  readonly plan?: boolean;
  readonly onlyPlan?: boolean;
  readonly memory?: number;
  readonly connections?: number;
  readonly sha256?: string;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("pull")
    .description("Fetch a model from Hugging Face, Ollama or an address; goes on where it was interrupted.")
    .argument("<name>", "org/name, org/name:Q4_K_M, org/name@revision:file.gguf, ollama:name:tag, https://...")
    .option("--as <name>", "another name for it", checkAlias)
    .option("--only-plan", "say what it would do on this machine, and fetch nothing")
    .option("--no-plan", "do not read its header first")
    .option("--memory <size>", "memory budget of the plan (default: what is free)", (t) => parseBytes(t, "--memory"))
    .option("--connections <n>", "parts fetched at once (default 4)", (t) => parseInteger(t, "--connections", 1, 32))
    .option("--sha256 <hex>", "what the file at an https address has to have", parseHash)
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action(run);
}

async function run(word: string, flags: PullFlags): Promise<void> {
  let seen: { model: RemoteModel; plans: readonly Preview[] } | undefined;
  const shown = new Progress("fetching", { forced: flags.progress, bytes: true });
  const began = performance.now();
  let first: number | undefined;
  const onProgress = ({ file, doneBytes, totalBytes }: PullProgress): void => {
    first ??= doneBytes;
    const rate = (doneBytes - first) / 1e6 / Math.max(1e-3, (performance.now() - began) / 1000);
    shown.update(doneBytes, totalBytes, { facts: [`${rate.toFixed(1)} MB/s`, file.file] });
  };
  const done = await withInterrupt((signal) =>
    pull(word, {
      signal,
      ...(flags.as !== undefined && { alias: flags.as }),
      ...(flags.onlyPlan && { onlyPlan: true }),
      ...(flags.plan === false && { noPlan: true }),
      ...(flags.memory !== undefined && { memoryBytes: flags.memory }),
      ...(flags.connections !== undefined && { connections: flags.connections }),
      ...(flags.sha256 !== undefined && { sha256: flags.sha256 }),
      onPlan: (model, plans) => {
        seen = { model, plans };
        const lines = previewLines(model, plans);
        if (flags.json !== true && flags.onlyPlan) printText(`${lines.join("\n")}\n`);
        else if (flags.json !== true) for (const line of lines) tell(line);
      },
      onProgress,
      onNote: (text) => {
        shown.end();
        note(text);
      },
    }),
  ).finally(() => shown.end());
  if (flags.json) {
    const { model, plans = [] } = seen ?? {};
    const asked = model && { source: model.source, files: model.files.map(({ file, bytes }) => ({ file, bytes })) };
    const result = done && { ...done, name: nameOf(done) };
    printJson({ ...asked, plans, ...(result ?? {}) });
    return;
  }
  if (done === undefined) return;
  const found = done.foundBytes === 0 ? "" : `, of which ${formatBytes(done.foundBytes)} lay on this computer`;
  tell(`${formatBytes(done.bytes)}${found}: ${done.path}`);
  printText(`hundredweight run ${flags.as ?? nameOf(done)}\n`);
}

function parseHash(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  throw new HundredweightError("OPTION_INVALID", `--sha256: '${text}' is not 64 hexadecimal digits`);
}
