/** Opens a model file for the engine: checkpoint, tokenizer, Ops, bound model. */
import { chatTemplates } from "../chat/template-source.js";
import { openCheckpoint } from "../containers/index.js";
import { HundredweightError } from "../errors.js";
import type { Adapter } from "../formats/adapter.js";
import { fileTypeName } from "../formats/index.js";
import type { Checkpoint } from "../formats/types.js";
import { bindDescription, describeModel, type ModelDescription, withAdapters, withChecks } from "../models/index.js";
import { loadAddon } from "../native/addon.js";
import { createOps } from "../ops/index.js";
import type { Backend } from "../ops/ops.js";
import type { WeightPlacement } from "../ops/placement.js";
import { profiledOps } from "../ops/profile.js";
import { Profiler } from "../ops/profiler.js";
import { ThreadSpans } from "../ops/thread-spans.js";
import { type Fingerprint, fingerprintOf } from "../past/fingerprint.js";
import type { PastParts } from "../past/parts.js";
import { vocabularyHash } from "../past/vocabulary.js";
import { mark } from "../process/marks.js";
import type { RowScans } from "../sampling/logprobs.js";
import { createStreamDecoder, createTokenizer, noFim, pairTemplate, type Tokenizer } from "../tokenizer/index.js";
import { rememberUses } from "../weights/expert-uses.js";
import { type ExpectedPass, LiveDisk } from "../weights/live-disk.js";
import { LiveMemory } from "../weights/live-memory.js";
import { rememberModel } from "../weights/probe.js";
import type { EngineOptions, ModelInfo } from "./options.js";
import type { EngineParts } from "./parts.js";
import { recommendedSampling } from "./recommended.js";
import { logitRowsOf, plannedThreads, planResources } from "./resources.js";
import { mostSequences } from "./stop-signal.js";

/**
 * @throws FILE_NOT_FOUND, FORMAT_*, ARCHITECTURE_UNKNOWN, MODEL_INVALID, TOKENIZER_*, MEMORY_BUDGET,
 *   NATIVE_UNAVAILABLE, CANCELLED when stop[0] rises while weights are read
 */
export async function openParts(
  path: string,
  options: EngineOptions,
  onPlanned?: (loadBytes: number) => void,
  stop?: Int32Array,
): Promise<EngineParts> {
  const sequences = options.sequences ?? 1;
  if (!(Number.isInteger(sequences) && sequences >= 1 && sequences <= mostSequences))
    throw new HundredweightError(
      "OPTION_INVALID",
      `sequences: ${sequences} is not a whole number from 1 to ${mostSequences}`,
    );
  mark("engine: told what to open");
  if (options.draftModel !== undefined) return openWithDrafts(path, options, onPlanned, stop);
  const checkpoint = await openCheckpoint(path);
  mark("engine: header read");
  const adapters = await openAdapters(checkpoint, options.adapters);
  const plain = describeModel(checkpoint, undefined, { contextTokens: options.contextTokens });
  const description = withAdapters(
    plain,
    adapters.map(({ adapter }) => adapter),
  );
  const { config } = description;
  mark("engine: model described");
  const { tokenizer, fault } = tokenizerOf(checkpoint, config.vocab);
  mark("engine: vocabulary made");
  const chatTemplate = chatTemplates(checkpoint.metadata).get("default");
  const planned = planResources(description, options, path, chatTemplate);
  const {
    contextTokens,
    kvTokens,
    chunkRows,
    kvType,
    kvMemory,
    checkpoints,
    placement,
    promise,
    residency,
    loadBytes,
    expected,
    programs,
  } = planned;
  onPlanned?.(loadBytes);
  mark("engine: planned");
  const profiler = profilerOf(options);
  const backend = createOps({
    ...(options.ops !== undefined && { kind: options.ops }),
    ...(options.threads !== undefined && { threads: options.threads }),
    ...(options.threadsBatch !== undefined && { threadsBatch: options.threadsBatch }),
    ...(options.cpuList !== undefined && { cpuList: options.cpuList }),
    ...(options.numa !== undefined && { numa: options.numa }),
    ...(options.isa !== undefined && { isa: options.isa }),
    ...(placement !== undefined && { placement }),
    ...(promise !== undefined && { promise }),
  });
  try {
    if (stop !== undefined) backend.setCancelFlag(stop);
    mark("engine: addon and threads there");
    const ops = profiler === undefined ? backend : profiledOps(backend, profiler);
    const model = await bindDescription(description, ops, {
      contextTokens,
      maxRows: chunkRows,
      sequences,
      kvTokens,
      checkpoints,
      kvType,
      ...(kvMemory !== undefined && { kvMemory }),
      programs,
      maxLogitRows: Math.min(logitRowsOf(options), chunkRows),
      ...(backend.view !== undefined && { view: (x) => backend.view!(x) }),
      ...(options.check && { rewrite: withChecks }),
    });
    mark("engine: bound");
    const { metadata } = checkpoint;
    const info: ModelInfo = {
      path,
      name: metadata.string("general.name"),
      architecture: model.arch,
      ops: backend.name,
      vocab: config.vocab,
      dim: config.dim,
      trainedContextTokens: config.contextTokens,
      contextTokens,
      chunkRows,
      kvType,
      weightBytes: checkpoint.tensorBytes,
      passWeightBytes: passWeightBytes(description),
      residency,
      tokenizer:
        fault ?? `${tokenizer.kind}${tokenizer.preTokenizer === undefined ? "" : `/${tokenizer.preTokenizer}`}`,
      addBos: tokenizer.addBos,
      special: { bos: tokenizer.special.bos, eos: tokenizer.special.eos },
      bosText: textOf(tokenizer, tokenizer.special.bos),
      eosText: textOf(tokenizer, tokenizer.special.eos),
      chatTemplate,
      ...(adapters.length > 0 && { adapters: adapters.map(adapterInfo) }),
      ...vectorInfo(description),
      samplingDefaults: recommendedSampling(metadata),
      ...headerFacts(checkpoint),
    };
    const pair = pairTemplate(metadata);
    return {
      info,
      tokenizer,
      ...(pair !== undefined && { pairTemplate: pair }),
      streamDecoder: (shown = []) => createStreamDecoder(tokenizer, { special: new Set(shown) }),
      model: {
        backend,
        kvGroups: model.kvGroups,
        turns: model.turns,
        slots: model.slots,
        forward: model.forward,
        ...(programs.length > 0 && {
          blocks: programs.map((name) => model.programs.get(name)!),
          carries: description.program.outputs.carried === undefined ? "hidden" : "carried",
        }),
        close: () => {
          profiler?.close();
          backend.close();
        },
      },
      scans: scansOf(backend),
      sequences,
      stays: options.stays ?? sequences > 1,
      ...(options.queueLimit !== undefined && { queueLimit: options.queueLimit }),
      ...(options.drafts !== undefined && { drafts: options.drafts }),
      ...(options.whenFull !== undefined && { whenFull: options.whenFull }),
      past: pastParts(backend, checkpoint, description, adapters, kvType, options),
      ...(profiler !== undefined && { profiler }),
      ...liveDiskOf(backend, placement, expected),
      rememberExperts: () => {
        const uses = backend.expertUses?.();
        if (uses !== undefined) rememberUses(path, uses);
      },
      ...(expected !== undefined && {
        liveMemory: new LiveMemory(expected),
        remember: (rate) => rememberModel({ path, ...plannedThreads(options) }, rate),
      }),
    };
  } catch (error) {
    profiler?.close();
    backend.close();
    throw error;
  }
}

function profilerOf({ profile, profileSchedule, ops }: EngineOptions): Profiler | undefined {
  if (profile === undefined) return undefined;
  const clock = (): number => performance.now();
  const addon = profile === "trace" && ops !== "reference" ? loadAddon() : undefined;
  return new Profiler(
    profile === "trace",
    clock,
    profileSchedule,
    addon === undefined ? undefined : new ThreadSpans(addon, clock),
  );
}

/** Fingerprints are made of what was opened, when somebody asks. */
function pastParts(
  backend: Backend,
  { files, metadata }: Checkpoint,
  description: ModelDescription,
  adapters: readonly OpenAdapter[],
  kvType: string,
  { pastStore }: EngineOptions,
): PastParts {
  const pairs = adapters.flatMap(({ adapter }) => [...adapter.pairs.values()]);
  const adapterExtents = pairs.flatMap(({ a, b }) => [...a.extents, ...b.extents]);
  const ops = backend.name.split("/")[0]!;
  let made: Fingerprint | undefined;
  let vocabulary: string | undefined;
  return {
    units: backend,
    fingerprint: () => {
      made ??= fingerprintOf({ description, files, adapterExtents, kvType, ops });
      return made;
    },
    vocabulary: () => {
      vocabulary ??= vocabularyHash(metadata);
      return vocabulary;
    },
    ...(pastStore !== undefined && { store: pastStore }),
    warn: (text) => process.stderr.write(`warning: ${text}\n`),
  };
}

interface OpenAdapter {
  readonly adapter: Adapter;
  readonly scale: number;
}

/** More would make every pass longer; nobody has as many in use at once. */
const mostAdapters = 64;

/** @throws what openAdapter throws; OPTION_INVALID */
async function openAdapters(
  checkpoint: Checkpoint,
  options: EngineOptions["adapters"] = [],
): Promise<readonly OpenAdapter[]> {
  if (options.length === 0) return [];
  if (options.length > mostAdapters)
    throw new HundredweightError("OPTION_INVALID", `${options.length} adapters, at most ${mostAdapters} are taken`);
  const { openAdapter } = await import("../containers/adapter/open.js");
  return options.map(({ path, scale = 1 }) => {
    if (!Number.isFinite(scale))
      throw new HundredweightError("OPTION_INVALID", `the scale of the adapter ${path} is ${scale}, expected a number`);
    return { adapter: openAdapter(path, checkpoint), scale };
  });
}

function adapterInfo({ adapter: { path, pairs }, scale }: OpenAdapter) {
  const matrices = [...pairs.values()].flatMap(({ a, b }) => [a, b]);
  const bytes = matrices.reduce((sum, { extents }) => sum + extents.reduce((all, extent) => all + extent.bytes, 0), 0);
  return { path, scale, bytes };
}

/** The small model is opened first and has what it needs; the large one has what is left of the budget. */
async function openWithDrafts(
  path: string,
  { draftModel, ...options }: EngineOptions,
  onPlanned: ((loadBytes: number) => void) | undefined,
  stop: Int32Array | undefined,
): Promise<EngineParts> {
  const { contextTokens, threads, cpuList, isa, ops, sequences, kvType, memoryBytes, io, stays } = options;
  const small = {
    ...{ contextTokens, threads, cpuList, isa, ops, sequences, kvType, io, stays, draftBlocks: false },
    ...(memoryBytes !== undefined && { memoryBytes, memoryOf: "process" }),
  };
  const given = Object.fromEntries(Object.entries(small).filter(([, value]) => value !== undefined));
  const draft = await openParts(draftModel!, given as EngineOptions, undefined, stop);
  try {
    const budget = memoryBytes ?? draft.info.residency.budgetBytes;
    const large = { ...options, memoryBytes: budget, memoryOf: "process", draftBlocks: false } as const;
    const parts = await openParts(path, large, onPlanned, stop);
    return { ...parts, draftModel: draft };
  } catch (error) {
    draft.model.close();
    throw error;
  }
}

/** Longest text and most keys of a header that are told. */
const mostHeaderText = 1000;
const mostHeaderKeys = 500;

function headerFacts({ metadata, tensors }: Checkpoint): Pick<ModelInfo, "parameters" | "fileType" | "header"> {
  let parameters = 0;
  for (const { shape } of tensors.values()) parameters += shape.reduce((product, size) => product * size, 1);
  const fileType = metadata.get("general.file_type");
  const header: Record<string, string | number | boolean> = {};
  for (const key of metadata.keys()) {
    if (key.startsWith("tokenizer.") || Object.keys(header).length >= mostHeaderKeys) continue;
    const value = metadata.get(key);
    const plain = typeof value === "bigint" ? Number(value) : value;
    if (typeof plain === "string" ? plain.length <= mostHeaderText : /^(number|boolean)$/.test(typeof plain)) {
      header[key] = plain as string | number | boolean;
    }
  }
  return { parameters, fileType: typeof fileType === "number" ? fileTypeName(fileType) : undefined, header };
}

function vectorInfo({ config, program, whole }: ModelDescription): Pick<ModelInfo, "vectors"> {
  const { outputs, calls } = program;
  const { vectors } = config;
  const only = outputs.logits === undefined;
  if (vectors === undefined && !only) return {};
  const { pooled } = outputs;
  const projects = pooled !== undefined && !calls.some((call) => call.verb === "pool" && call.outputs[0] === pooled);
  const { pooling, labels = [], softmax = false } = vectors ?? {};
  return { vectors: { pooling, only, whole, pools: pooled !== undefined, projects, labels, softmax } };
}

/** The reference goes without the addon altogether. */
function scansOf(backend: Backend): RowScans {
  return backend.name === "reference" ? {} : (loadAddon() ?? {});
}

/** Where weights are streamed: what the disk gives is learned, and as many reads kept in flight as are fastest. */
function liveDiskOf(backend: Backend, placement: WeightPlacement | undefined, expected: ExpectedPass | undefined) {
  if (placement?.depth === undefined || placement.tiles.length === 0 || expected === undefined) return {};
  const { depth } = placement;
  const setDepth = (reads: number) => backend.readDepth?.(reads);
  return { liveDisk: new LiveDisk({ depth, mostDepth: 2 * depth, expected, setDepth }) };
}

/**
 * A file without a tokenizer, or with one that is not known, still gives logits of token ids: the error waits until
 * text is asked for. A vocabulary larger than the embedding is refused here.
 */
function tokenizerOf(checkpoint: Checkpoint, vocab: number): { tokenizer: Tokenizer; fault: string | undefined } {
  let tokenizer: Tokenizer;
  try {
    tokenizer = createTokenizer(checkpoint.metadata);
  } catch (error) {
    const absent = checkpoint.metadata.get("tokenizer.ggml.model") === undefined;
    if (!(error instanceof HundredweightError) || !(absent || error.code === "TOKENIZER_UNSUPPORTED")) throw error;
    return { tokenizer: missingTokenizer(error, vocab), fault: absent ? "none" : "unsupported" };
  }
  if (tokenizer.size > vocab) {
    throw new HundredweightError(
      "TOKENIZER_INVALID",
      `${checkpoint.path}: the vocabulary has ${tokenizer.size} tokens, but token_embd.weight only ${vocab} rows`,
      { tokens: tokenizer.size, rows: vocab },
    );
  }
  return { tokenizer, fault: undefined };
}

function missingTokenizer(error: HundredweightError, vocab: number): Tokenizer {
  const refuse = (): never => {
    throw error;
  };
  return {
    size: vocab,
    kind: "none",
    preTokenizer: undefined,
    fim: noFim,
    special: {
      bos: undefined,
      eos: undefined,
      eot: undefined,
      unknown: undefined,
      padding: undefined,
      separator: undefined,
      mask: undefined,
    },
    addBos: false,
    addEos: false,
    addSeparator: false,
    addSpacePrefix: false,
    encode: refuse,
    encodeSegments: refuse,
    pieceBytes: refuse,
    piece: refuse,
    tokenKind: refuse,
    decode: refuse,
    endOfGeneration: new Set(),
    tokenId: () => undefined,
  };
}

/** Bytes that a pass of one row reads: of the embedding table one row, of the experts those that are chosen. */
function passWeightBytes({ config, weightBytes }: ModelDescription): number {
  let bytes = 0;
  for (const [role, roleBytes] of Object.entries(weightBytes)) {
    if (role === "expert") bytes += config.experts > 0 ? (roleBytes * config.topK) / config.experts : 0;
    else if (role !== "embedding") bytes += roleBytes;
  }
  return Math.round(bytes);
}

function textOf(tokenizer: Tokenizer, id: number | undefined): string {
  return id === undefined ? "" : tokenizer.piece(id);
}
