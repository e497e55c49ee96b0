/**
 * Reads adapter_config.json of PEFT as far as it changes numbers. What is not handled is refused by its name.
 * @source huggingface/peft, src/peft/tuners/lora/config.py, src/peft/utils/other.py (get_pattern_key)
 */
import { isObject, type JsonObject, type JsonValue } from "../../formats/json-reader.js";
import { invalid, unsupported } from "./gguf-adapter.js";

/** Settings under which an adapter is more than pairs, or less: any value but none is refused. */
const refused = [
  "use_dora",
  "lora_bias",
  "modules_to_save",
  "trainable_token_indices",
  "alora_invocation_tokens",
  "use_qalora",
  "use_bdlora",
  "arrow_config",
  "kasa_config",
  "velora_config",
  "monteclora_config",
  "layer_replication",
  "megatron_config",
] as const;
/** Ways to begin that change the weights of the base as well. */
const changesBase = /^(pissa|olora|corda|loftq|lora_ga)/i;

/** The scale of a pair from what a module is called and its rank. */
export type ScaleOf = (module: string, rank: number) => number;

export interface PeftConfig {
  readonly scaleOf: ScaleOf;
  /** The rank that is said of a module or parameter. */
  readonly rankOf: (name: string) => number;
  /** Parameters that have pairs of their own, by the ends of their names. */
  readonly parameters: readonly string[];
  /** Halves of stacked matrices lie as [rank * experts, inputs] and [outputs, rank * experts]. */
  readonly stacksInputsFirst: boolean;
}

const isNothing = (value: JsonValue | undefined): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  (Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0);

/** @throws ADAPTER_INVALID, ADAPTER_UNSUPPORTED */
export function readPeftConfig(path: string, json: JsonObject): PeftConfig {
  if (json.peft_type !== "LORA")
    throw unsupported(path, `peft_type is '${shown(json.peft_type)}'; only LORA is supported`);
  for (const key of refused)
    if (!isNothing(json[key])) throw unsupported(path, `'${key}' is ${shown(json[key])}, which is not supported`);
  if (!isNothing(json.bias) && json.bias !== "none")
    throw unsupported(path, `'bias' is '${shown(json.bias)}': trained biases are not supported`);
  const init = json.init_lora_weights;
  if (typeof init === "string" && changesBase.test(init))
    throw unsupported(
      path,
      `'init_lora_weights' is '${init}', which belongs to changed weights of the base; ` +
        "save the adapter with path_initial_model_for_weight_conversion",
    );
  const alpha = numberOf(path, "lora_alpha", json.lora_alpha);
  const rank = numberOf(path, "r", json.r);
  const [alphas, ranks] = [patternOf(path, "alpha_pattern", json), patternOf(path, "rank_pattern", json)];
  const root = json.use_rslora === true;
  return {
    scaleOf(module, found) {
      const said = ranks(module) ?? rank;
      if (said !== found) throw invalid(path, `says that '${module}' has rank ${said}, and the pair has ${found}`);
      return (alphas(module) ?? alpha) / (root ? Math.sqrt(found) : found);
    },
    rankOf: (name) => ranks(name) ?? rank,
    parameters: parametersOf(path, json.target_parameters),
    stacksInputsFirst: isFrom(json.peft_version, 0, 20),
  };
}

function parametersOf(path: string, value: JsonValue | undefined): string[] {
  if (isNothing(value)) return [];
  if (!Array.isArray(value)) throw invalid(path, `'target_parameters' is ${shown(value)}, expected names`);
  return value.map((name) => {
    if (typeof name === "string") return name;
    throw invalid(path, `'target_parameters' has ${shown(name)}, expected names`);
  });
}

/** Whether a version is this one or later; one that is missing is earlier. */
function isFrom(version: JsonValue | undefined, major: number, minor: number): boolean {
  const [, first, second] = /^(\d{1,6})\.(\d{1,6})/.exec(typeof version === "string" ? version : "") ?? [];
  return Number(first) > major || (Number(first) === major && Number(second) >= minor);
}

const shown = (value: JsonValue | undefined): string =>
  (typeof value === "string" ? value : (JSON.stringify(value) ?? "missing")).slice(0, 80);

function numberOf(path: string, key: string, value: JsonValue | undefined): number {
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  throw invalid(path, `'${key}' is ${shown(value)}, expected a number above 0`);
}

/**
 * Numbers for modules by the ends of their names. PEFT reads the names as regular expressions; a stranger's are not
 * run here, so those that are more than a name with dots are refused.
 */
function patternOf(path: string, key: string, json: JsonObject): (module: string) => number | undefined {
  const given = json[key];
  if (isNothing(given)) return () => undefined;
  if (!isObject(given)) throw invalid(path, `'${key}' is ${shown(given)}, expected names and numbers`);
  const entries = Object.entries(given).map(([name, value]): [string, boolean, number] => {
    const whole = name.startsWith("^");
    // PEFT itself writes `.*\.NAME` for experts that it put together.
    const plain = name.replace(/^(\^|\.\*\\\.)/, "").replace(/\\\./g, ".");
    if (!/^[\w.]+$/.test(plain)) throw unsupported(path, `'${key}' has the pattern '${name.slice(0, 80)}'`);
    return [plain, whole, numberOf(path, `${key}.${name}`, value)];
  });
  return (module) => entries.find(([name, whole]) => module === name || (!whole && module.endsWith(`.${name}`)))?.[2];
}
