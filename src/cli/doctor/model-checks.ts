/** Looks a model over from its container to its first tokens, and says of each step what was found. */
import { readdirSync, statSync } from "node:fs";
import { chatTemplates } from "../../chat/template-source.js";
import { openCheckpoint } from "../../containers/index.js";
import { asHundredweightError, type HundredweightError } from "../../errors.js";
import { verifyCheckpoint } from "../../formats/index.js";
import type { Checkpoint } from "../../formats/types.js";
import { load } from "../../library/model.js";
import { describeModel, type ModelDescription } from "../../models/index.js";
import { addonStatus } from "../../native/addon.js";
import { openTexts } from "../../text/index.js";
import { createTokenizer, type Tokenizer } from "../../tokenizer/index.js";
import { Planner } from "../../weights/plan.js";
import { knownMachine } from "../../weights/probe.js";
import { countsTexts } from "../reports/plan-report.js";
import { formatBytes, formatRate } from "../terminal/output.js";
import type { SymptomName } from "./symptoms.js";

export interface Finding {
  readonly check: string;
  readonly state: "ok" | "warning" | "fault";
  readonly text: string;
  readonly symptom?: SymptomName;
}

export interface CheckOptions {
  readonly signal: AbortSignal;
  /** Reads all weights. */
  readonly read: boolean;
  /** Evaluates some tokens and looks at every number; undefined: when that takes moments. */
  readonly run: boolean | undefined;
  readonly memoryBytes: number | undefined;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** A model of more bytes is only run when it is asked for. */
const runsBelow = 2 ** 29;
const shownFaults = 5;

/** @throws CANCELLED; what is wrong with the model is told, not thrown */
export async function checkModel(path: string, options: CheckOptions): Promise<Finding[]> {
  const found: Finding[] = [];
  const say = (check: string, state: Finding["state"], text: string, symptom?: SymptomName): void => {
    found.push({ check, state, text, ...(symptom !== undefined && { symptom }) });
  };
  const failed = (check: string, error: unknown, symptom: SymptomName): undefined => {
    const known = asHundredweightError(error);
    if (known.code === "CANCELLED") throw known;
    say(check, "fault", known.message, symptomOf(known, symptom));
    return undefined;
  };

  if (isCoreMl(path)) {
    say("container", "fault", `${path}: a Core ML model`, "conversion");
    return found;
  }
  const checkpoint = await openCheckpoint(path).catch((error: unknown) => failed("container", error, "damaged"));
  if (checkpoint === undefined) return found;
  const { tensors, tensorBytes, format } = checkpoint;
  say("container", "ok", `${format}, ${tensors.size} tensors, ${formatBytes(tensorBytes)}`);

  let description: ModelDescription | undefined;
  try {
    description = describeModel(checkpoint);
    const { arch, config, warnings } = description;
    say("names and shapes", "ok", `${arch}, ${config.layers} layers: every tensor is there, in its shape`);
    for (const warning of warnings) say("names and shapes", "warning", warning);
  } catch (error) {
    failed("names and shapes", error, "damaged");
  }
  const tokenizer = checkTokenizer(checkpoint, description, say, failed);
  if (tokenizer !== undefined) checkSpecials(checkpoint, tokenizer, say);
  await checkTemplate(path, checkpoint, options.signal, say);
  if (options.read) await checkNumbers(checkpoint, options, say, failed);
  if (description !== undefined) {
    checkPlan(path, checkpoint, description, options.memoryBytes, say);
    const fine = !found.some(({ state }) => state === "fault");
    if (options.run ?? (fine && tensorBytes < runsBelow)) await checkRun(path, options, say, failed);
  }
  return found;
}

type Say = (check: string, state: Finding["state"], text: string, symptom?: SymptomName) => void;
type Failed = (check: string, error: unknown, symptom: SymptomName) => undefined;

/** The symptom that belongs to an error wherever it came up. */
function symptomOf({ code }: HundredweightError, usual: SymptomName): SymptomName {
  if (code.startsWith("TOKENIZER_")) return "vocabulary";
  if (code.startsWith("TEMPLATE_")) return "template";
  return code === "MEMORY_BUDGET" ? "memory" : usual;
}

/** `.mlmodel` and `.mlmodelc`, or a package folder with such in it. */
function isCoreMl(path: string): boolean {
  if (/\.(mlmodelc?|mlpackage)\/?$/i.test(path)) return true;
  try {
    return (
      statSync(path).isDirectory() &&
      readdirSync(path).some((name) => name === "Manifest.json" || /\.mlmodel$/.test(name))
    );
  } catch {
    return false;
  }
}

const sample = "The quick brown fox: 12 dogs, 3.5 cats; naïve café 你好.";

function checkTokenizer(
  checkpoint: Checkpoint,
  description: ModelDescription | undefined,
  say: Say,
  failed: Failed,
): Tokenizer | undefined {
  let tokenizer: Tokenizer;
  try {
    tokenizer = createTokenizer(checkpoint.metadata);
  } catch (error) {
    return failed("tokenizer", error, "vocabulary");
  }
  const { size, kind, preTokenizer } = tokenizer;
  const rows = description?.config.vocab ?? checkpoint.tensors.get("token_embd.weight")?.shape[1];
  const named = `${kind}${preTokenizer === undefined ? "" : ` (${preTokenizer})`}, ${size} tokens`;
  if (rows !== undefined && rows < size) {
    // The check of shapes has said so, where it came so far.
    if (description !== undefined) say("tokenizer", "fault", `${named}, and ${rows} rows of embedding`, "vocabulary");
    return tokenizer;
  }
  const padding = rows === undefined || rows === size ? "" : `, ${rows} rows of embedding: the rest is padding`;
  const back = tokenizer.decode(tokenizer.encode(sample, { addSpecial: false }));
  if (back.trim() === sample) say("tokenizer", "ok", `${named}${padding}; a sample comes back as it was`);
  else say("tokenizer", "warning", `${named}${padding}; a sample comes back as '${back.slice(0, 80)}'`);
  return tokenizer;
}

/** Ids that are no token's, and what an answer ends with. */
function checkSpecials({ metadata }: Checkpoint, tokenizer: Tokenizer, say: Say): void {
  const wrong: string[] = [];
  for (const key of metadata.keys()) {
    if (!/^tokenizer\.ggml\.\w+_token_id$/.test(key)) continue;
    const id = metadata.get(key);
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= tokenizer.size) wrong.push(`${key} ${id}`);
  }
  const last = tokenizer.size - 1;
  if (wrong.length > 0)
    say("special tokens", "fault", `${wrong.slice(0, shownFaults).join(", ")}: ids are 0 to ${last}`, "vocabulary");
  if (tokenizer.endOfGeneration.size === 0)
    say("special tokens", "warning", "no token ends an answer: it goes on to --max-tokens", "template");
  else if (wrong.length === 0) {
    const ends = [...tokenizer.endOfGeneration].slice(0, shownFaults).map((id) => tokenizer.piece(id));
    say("special tokens", "ok", `answers end with ${ends.join(", ")}`);
  }
}

async function checkTemplate(path: string, { metadata }: Checkpoint, signal: AbortSignal, say: Say): Promise<void> {
  if (chatTemplates(metadata).get("default") === undefined) {
    say("chat template", "warning", "the file has none: texts are continued, not answered");
    return;
  }
  try {
    const texts = await openTexts(path, { place: "process", signal });
    try {
      const fault = await texts.sample;
      if (fault !== undefined) say("chat template", "fault", fault.message, "template");
      else say("chat template", "ok", "a conversation can be rendered");
    } finally {
      texts.close();
    }
  } catch (error) {
    const known = asHundredweightError(error);
    if (known.code === "CANCELLED") throw known;
    // The tokenizer's fault has been told.
    if (!known.code.startsWith("TOKENIZER_")) say("chat template", "fault", known.message, "template");
  }
}

async function checkNumbers(
  checkpoint: Checkpoint,
  { signal, onProgress }: CheckOptions,
  say: Say,
  failed: Failed,
): Promise<void> {
  try {
    const { badBlocks, bad, bytes, unchecked } = await verifyCheckpoint(checkpoint, { signal, onProgress });
    const skipped = unchecked.length === 0 ? "" : `; not looked at: ${unchecked.join(", ")}`;
    if (badBlocks === 0) say("numbers", "ok", `every scale of ${formatBytes(bytes)} is finite${skipped}`);
    else {
      const names = [...new Set(bad.map(({ tensor }) => tensor))].slice(0, shownFaults).join(", ");
      say("numbers", "fault", `${badBlocks} blocks are not finite: ${names}; inspect --verify lists them`, "notFinite");
    }
  } catch (error) {
    failed("numbers", error, "damaged");
  }
}

function checkPlan(
  path: string,
  checkpoint: Checkpoint,
  description: ModelDescription,
  memoryBytes: number | undefined,
  say: Say,
): void {
  const { profile } = knownMachine({ path });
  const planner = new Planner(description, profile, { textProcess: countsTexts(checkpoint) });
  const budget = memoryBytes ?? profile.availableBytes;
  const plan = planner.tryPlan(budget);
  if (plan === undefined) {
    const least = formatBytes(planner.minimumBudgetBytes());
    say("memory", "fault", `it does not run in ${formatBytes(budget)}: at least ${least} are needed`, "memory");
  } else {
    const rate = formatRate(plan.prediction.secondsPerToken);
    const whole = formatBytes(planner.residentBudgetBytes(plan.contextTokens));
    if (plan.strategy === "resident") say("memory", "ok", `all of it fits into ${formatBytes(budget)}; about ${rate}`);
    else
      say("memory", "warning", `streamed in ${formatBytes(budget)}, about ${rate}; fits whole from ${whole}`, "slow");
  }
  const { state, reason, isa } = addonStatus();
  if (state !== "loaded")
    say("kernels", "warning", `the native addon is not loaded (${reason}): the plain reference runs`, "slow");
  else if (isa === "scalar") say("kernels", "warning", "scalar kernels run: no vector instructions are used", "slow");
  else say("kernels", "ok", `${isa}`);
}

const tokens = 4;

async function checkRun(path: string, options: CheckOptions, say: Say, failed: Failed): Promise<void> {
  try {
    const { signal, memoryBytes } = options;
    const model = await load(path, { check: true, contextTokens: 256, signal, ...(memoryBytes && { memoryBytes }) });
    try {
      if (model.info.vectors?.only === true) await model.embed(sample);
      else await model.generate(sample, { maxTokens: tokens, temperature: 0, signal }).result();
      say("first tokens", "ok", "every number on the way is finite");
    } finally {
      await model.close();
    }
  } catch (error) {
    failed("first tokens", error, "notFinite");
  }
}
