/**
 * An adapter as a GGUF file.
 * @source ggml-org/llama.cpp, convert_lora_to_gguf.py and src/llama-adapter.cpp
 */
import { HundredweightError } from "../../errors.js";
import type { Adapter, AdapterPair, PairMatrix } from "../../formats/adapter.js";
import { dtypeOf } from "../../formats/dtypes.js";
import { openGguf } from "../../formats/gguf-open.js";
import type { TensorInfo } from "../../formats/types.js";

/** @throws what openGguf throws; ADAPTER_INVALID, ADAPTER_UNSUPPORTED */
export function openGgufAdapter(path: string): Adapter {
  const { metadata, tensors } = openGguf(path);
  const type = metadata.string("general.type");
  if (type !== "adapter")
    throw invalid(path, `is no adapter: its general.type is '${type ?? "missing"}'; name a model as MODEL`);
  const kind = metadata.string("adapter.type");
  if (kind !== "lora") throw unsupported(path, `is an adapter of type '${kind ?? "missing"}', not lora`);
  if (metadata.get("adapter.alora.invocation_tokens") !== undefined)
    throw unsupported(path, "is an activated LoRA (adapter.alora.invocation_tokens), which begins within a prompt");
  const alpha = metadata.number("adapter.lora.alpha") ?? 0;
  const halves = new Map<string, { a?: TensorInfo; b?: TensorInfo }>();
  for (const info of tensors.values()) {
    const [, name, half] = /^(.+)\.lora_([ab])$/.exec(info.name) ?? [];
    if (name === undefined) throw unsupported(path, `has a tensor '${info.name}', which is no half of a pair`);
    const known = halves.get(name) ?? {};
    halves.set(name, { ...known, [half!]: info });
  }
  if (halves.size === 0) throw invalid(path, "has no tensors");
  const pairs = new Map<string, AdapterPair>();
  for (const [name, { a, b }] of halves) {
    if (a === undefined || b === undefined)
      throw invalid(path, `has only one half of the pair of '${name}': '${(a ?? b)!.name}'`);
    const [low, high] = [matrixOf(path, a), matrixOf(path, b)];
    // Zero: as if alpha were the rank.
    pairs.set(name, { a: low, b: high, scale: alpha === 0 ? 1 : alpha / high.cols });
  }
  return { path, format: "gguf", architecture: metadata.string("general.architecture"), pairs };
}

function matrixOf(path: string, { name, layout, shape, planes }: TensorInfo): PairMatrix {
  const [cols, rows = 1, experts = 1] = shape as readonly [number, number?, number?];
  if (dtypeOf(layout) === undefined || layout.acts === undefined || shape.length > 3)
    throw unsupported(path, `has '${name}' of type ${layout.name} [${shape.join(", ")}], which is not supported`);
  return { name, layout, cols, rows, experts, extents: Object.values(planes).flat() };
}

export function invalid(path: string, what: string): HundredweightError {
  return new HundredweightError("ADAPTER_INVALID", `${path}: ${what}`, { path });
}

export function unsupported(path: string, what: string): HundredweightError {
  return new HundredweightError("ADAPTER_UNSUPPORTED", `${path}: ${what}`, { path });
}
