/** Checks a checkpoint against its architecture's declaration: metadata only, no weight is touched. */
import { HundredweightError } from "../errors.js";
import { storedBytes } from "../formats/layouts.js";
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import type { SlotLayer } from "../ops/ops.js";
import type { Declaration, ModelConfig, ProgramRows } from "./flow/architecture.js";
import { type Program, seesAhead, slotLayersOf, windowsOf } from "./flow/calls.js";
import type { PagedState } from "./flow/flow.js";
import { MetadataReader, modelInvalid } from "./flow/metadata-reader.js";
import { type Role, storedTensors, type TensorDeclaration } from "./flow/tensors.js";
import { madeOf, PartsUnfit } from "./made-of.js";
import { vectorConfig } from "./parts/vectors.js";
import { record } from "./record.js";
import { factorSuffixes, type TensorSource } from "./record-tensors.js";
import { findArchitecture } from "./registry.js";
import { unusedWarnings } from "./unused.js";

export interface ModelTensor extends TensorDeclaration {
  /** Where it lies; of a tensor made of others the extents of its rows. */
  readonly info: TensorInfo;
}

/** A state that a layer keeps of every position, and how many positions somebody looks back; 0 = all. */
export type KeptState = PagedState & { readonly window: number };

/** A program that a file holds beside the trunk. */
export interface ProgramDescription {
  readonly program: Program;
  /** Which rows of the trunk's passes it runs over. */
  readonly rows?: ProgramRows;
  readonly tensors: readonly ModelTensor[];
}

export interface ModelDescription {
  readonly arch: string;
  readonly format: Checkpoint["format"];
  /** Rows of queries and keys are in another order in GGUF than in folders. */
  readonly permutes: boolean;
  readonly config: ModelConfig;
  /** The trunk. */
  readonly program: Program;
  /** Other programs that can be bound, by name. */
  readonly programs: ReadonlyMap<string, ProgramDescription>;
  readonly states: readonly KeptState[];
  /** States of layers that are replaced: the values of a slot. */
  readonly slotLayers: readonly SlotLayer[];
  /** Every tensor the model uses, in the order a pass uses them. */
  readonly tensors: readonly ModelTensor[];
  /** Names in the file that nothing uses. */
  readonly unusedTensors: readonly string[];
  /** The head is the token embedding. */
  readonly tied: boolean;
  /** Rows see rows after them: all of a sequence have to be in one pass. */
  readonly whole: boolean;
  readonly weightBytes: Readonly<Record<Role, number>>;
  readonly warnings: readonly string[];
}

/** The wishes of the user on which a model's numbers depend. */
export interface AskedOf {
  /** The context asked for; undefined where the model's own counts. */
  readonly contextTokens?: number | undefined;
  /** Weights are only read: matrices will do that have no kernels, where their values are known. */
  readonly readOnly?: boolean;
}

/**
 * Resolves and checks everything a model needs. All faults are reported in one error.
 * @throws ARCHITECTURE_UNKNOWN, MODEL_INVALID, FORMAT_UNSUPPORTED (tensor types without kernels, parts that do not
 * fit),
 *   TOKENIZER_INVALID (more tokens than embedding rows)
 */
export function describeModel(
  checkpoint: Checkpoint,
  find: (name: string) => Declaration = findArchitecture,
  asked: AskedOf = {},
): ModelDescription {
  const arch = checkpoint.metadata.string("general.architecture");
  if (arch === undefined) throw modelInvalid(checkpoint.path, ["metadata 'general.architecture' is missing"]);
  const declaration = find(arch);
  const reader = new MetadataReader(checkpoint, arch, asked.contextTokens);
  const spec = declaration.declare(reader);
  const vectors = spec.config.vectors ?? vectorConfig(reader);
  const config = vectors === undefined ? spec.config : { ...spec.config, vectors };
  // Each layer has tensors, so a hostile count ends here and not in a loop of 10^9.
  if (config.layers > checkpoint.tensors.size)
    reader.fault(`'${arch}.block_count' is ${config.layers} but the file has only ${checkpoint.tensors.size} tensors`);
  reader.check();

  const source: TensorSource = {
    format: checkpoint.format,
    has: (name) => checkpoint.tensors.has(name),
    transposed: (name) => checkpoint.tensors.get(name)?.transposed === true,
    rank: (name) => rankOf(checkpoint, name),
  };
  const { program, tensors: declared } = record(spec, source);
  const resolver = new Resolver(checkpoint, undefined, asked.readOnly);
  for (const tensor of declared) resolver.resolve(tensor);
  const programs = Object.keys(spec.programs).map((name): [string, ProgramDescription] => {
    const other = new Resolver(checkpoint, resolver, asked.readOnly);
    const recorded = record(spec, source, name);
    for (const tensor of recorded.tensors) other.resolve(tensor);
    return [name, { program: recorded.program, rows: spec.programs[name]!.rows ?? "all", tensors: other.found }];
  });
  resolver.check();
  checkVocabulary(checkpoint, config.vocab);

  const tensors = resolver.found;
  const used = new Set([tensors, ...programs.map(([, other]) => other.tensors)].flat().flatMap(namesInFile));
  const unusedTensors = [...checkpoint.tensors.keys()].filter((name) => !used.has(name));
  const weightBytes = { norm: 0, router: 0, attention: 0, ffn: 0, expert: 0, embedding: 0, head: 0 };
  for (const tensor of tensors) weightBytes[tensor.role] += storedBytes(tensor.info.planes);
  const warnings = unusedWarnings(unusedTensors, config.layers);
  const states = [...windowsOf(program)].map(([state, window]) => ({ ...state, window }));
  const slotLayers = [...slotLayersOf(program).values()];
  const tied = !tensors.some(({ role }) => role === "embedding");
  const others = new Map(programs);
  const whole = program.calls.some(
    (call) => call.verb === "attention" && call.sources.some(({ reach }) => seesAhead(reach)),
  );
  const { format } = checkpoint;
  const permutes = spec.ggufPairs === "neighbours";
  const found = { arch, format, permutes, config, program, programs: others, states, slotLayers, tensors };
  return { ...found, unusedTensors, tied, whole, weightBytes, warnings };
}

/** With the weights of further programs, those that are not the trunk's as well: all that has to be in memory. */
export function withPrograms(description: ModelDescription, names: readonly string[]): ModelDescription {
  const found = new Map(description.tensors.map((tensor) => [tensor.name, tensor]));
  for (const name of names)
    for (const tensor of description.programs.get(name)?.tensors ?? [])
      if (!found.has(tensor.name)) found.set(tensor.name, tensor);
  return { ...description, tensors: [...found.values()] };
}

/** Names of the blocks of a file that guess further tokens, in their order: programs that follow every row. */
export function guessingBlocks({ programs, program, whole }: ModelDescription): string[] {
  if (whole || program.outputs.logits === undefined) return [];
  const names = Array.from({ length: programs.size }, (_, i) => `mtp${i}`);
  const end = names.findIndex((name) => (programs.get(name)?.rows ?? "none") !== "all");
  return end < 0 ? names : names.slice(0, end);
}

/** @returns undefined where the matrix itself is there, or no factors are */
function rankOf({ tensors }: Checkpoint, name: string): number | undefined {
  if (tensors.has(name)) return undefined;
  const first = tensors.get(`${name}.${factorSuffixes.first}`);
  return first === undefined ? undefined : (first.shape[1] ?? 1);
}

const namesInFile = (tensor: TensorDeclaration): string[] => storedTensors(tensor).map(({ name }) => name);

/** The tensors of a file as far as they are known, and their faults. */
interface Seen {
  readonly faults: string[];
  /** By name, undefined where something is wrong with it: said once, however many are made of it. */
  readonly known: Map<string, TensorInfo | undefined>;
  unsupported: number;
}

class Resolver {
  readonly found: ModelTensor[] = [];
  readonly #checkpoint: Checkpoint;
  readonly #seen: Seen;
  readonly #readOnly: boolean;

  /** `beside`: what it found out is known here, and the faults of both are told together. */
  constructor(checkpoint: Checkpoint, beside?: Resolver, readOnly = false) {
    this.#checkpoint = checkpoint;
    this.#readOnly = readOnly;
    this.#seen = beside === undefined ? { faults: [], known: new Map(), unsupported: 0 } : beside.#seen;
  }

  resolve(tensor: TensorDeclaration): void {
    const stored = storedTensors(tensor).map((part) => this.#inFile(part));
    if (stored.some((info) => info === undefined)) return;
    const info = tensor.made === undefined ? stored[0] : this.#made(tensor);
    if (info !== undefined) this.found.push({ ...tensor, info });
  }

  #made(tensor: TensorDeclaration): TensorInfo | undefined {
    try {
      return madeOf(tensor, (name) => this.#seen.known.get(name)!);
    } catch (error) {
      if (!(error instanceof PartsUnfit)) throw error;
      this.#seen.unsupported++;
      this.#seen.faults.push(`'${tensor.name}' ${error.message}`);
      return undefined;
    }
  }

  #inFile({ name, kind, shape, ids }: TensorDeclaration): TensorInfo | undefined {
    const seen = this.#seen.known.get(name);
    const fits = (found: readonly number[]) => sameShape(found, shape) || (kind === "vector" && isRow(found, shape));
    if (this.#seen.known.has(name) && (seen === undefined || fits(seen.shape))) return seen;
    const before = this.#seen.faults.length;
    const info = this.#checkpoint.tensors.get(name);
    if (info === undefined) this.#seen.faults.push(`tensor '${name}' is missing`);
    else if (!fits(info.shape))
      this.#seen.faults.push(`tensor '${name}' is [${info.shape.join(", ")}], expected [${shape.join(", ")}]`);
    else if (ids !== undefined) {
      if (info.layout.name !== "I32") this.#seen.faults.push(`tensor '${name}' has type ${info.layout.name}, not I32`);
    } else if (info.layout.acts === undefined && !(this.#readOnly && info.layout.folded !== undefined)) {
      this.#seen.unsupported++;
      const what = info.layout.folded === undefined ? "" : "; `hundredweight convert` writes it as a plain matrix";
      this.#seen.faults.push(`tensor '${name}' has type ${info.layout.name}, which has no kernels${what}`);
    } else if (info.layout.name === "NVFP4") this.#refuseFactor(name);
    const known = this.#seen.faults.length === before ? info : undefined;
    this.#seen.known.set(name, known);
    return known;
  }

  /** Beside an NVFP4 matrix a file may have one factor for all of it. Without it the numbers would be wrong. */
  #refuseFactor(name: string): void {
    const factor = name.replace(/weight$/, "scale");
    if (factor === name || !this.#checkpoint.tensors.has(factor)) return;
    this.#seen.unsupported++;
    this.#seen.faults.push(`'${factor}' is to be multiplied with '${name}', which is not supported`);
  }

  check(): void {
    if (this.#seen.faults.length === 0) return;
    const code = this.#seen.unsupported === this.#seen.faults.length ? "FORMAT_UNSUPPORTED" : "MODEL_INVALID";
    throw modelInvalid(this.#checkpoint.path, this.#seen.faults, code);
  }
}

/** Containers may leave out trailing dimensions of 1. */
function sameShape(found: readonly number[], expected: readonly number[]): boolean {
  const length = Math.max(found.length, expected.length);
  for (let i = 0; i < length; i++) if ((found[i] ?? 1) !== (expected[i] ?? 1)) return false;
  return true;
}

/** A vector's values in their order, without the dimensions that GGUF gives some of them. */
function isRow(found: readonly number[], expected: readonly number[]): boolean {
  const product = expected.reduce((all, size) => all * size, 1);
  return sameShape(found, [product]);
}

/** More rows than tokens is padding; more tokens than rows would read past the embedding. */
function checkVocabulary(checkpoint: Checkpoint, rows: number): void {
  const tokens = (checkpoint.metadata.packedStrings("tokenizer.ggml.tokens")?.offsets.length ?? 1) - 1;
  if (tokens > rows)
    throw new HundredweightError(
      "TOKENIZER_INVALID",
      `${checkpoint.path}: the vocabulary has ${tokens} tokens but 'token_embd.weight' only ${rows} rows`,
      { tokens, rows },
    );
}
