/** Ollama's store: `manifests/<host>/<namespace>/<model>/<tag>` names layers, `blobs/sha256-<hex>` holds them. */
import { join } from "node:path";
import { readSmall } from "./scan-files.js";
import type { LocalModel } from "./types.js";
import { fileStats, type WalkedFile, walk } from "./walk.js";

export const ollamaHost = "registry.ollama.ai";
const modelLayer = "application/vnd.ollama.image.model";
const maxManifest = 1 << 20;

export interface OllamaLayer {
  readonly mediaType: string;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
  readonly bytes: number;
}

/** The layers of a manifest; none of what is none. */
export function layersOf(manifest: unknown): OllamaLayer[] {
  const { layers } = (manifest ?? {}) as { readonly layers?: unknown };
  if (!Array.isArray(layers)) return [];
  return layers.flatMap((layer: unknown): OllamaLayer[] => {
    const { mediaType, digest, size } = (layer ?? {}) as Record<string, unknown>;
    const [, sha256] = /^sha256:([0-9a-f]{64})$/.exec(String(digest)) ?? [];
    const sound = typeof mediaType === "string" && sha256 !== undefined && Number.isSafeInteger(size);
    return sound ? [{ mediaType, sha256, bytes: size as number }] : [];
  });
}

/** The layer that is a GGUF file; models in other forms (MLX) have none. */
export const modelLayerOf = (layers: readonly OllamaLayer[]): OllamaLayer | undefined =>
  layers.find(({ mediaType }) => mediaType === modelLayer);

function readManifest(path: string): unknown {
  try {
    return JSON.parse(readSmall(path, maxManifest) ?? "");
  } catch {
    return undefined;
  }
}

export function ollamaModels(folder: string): LocalModel[] {
  return walk(join(folder, "manifests"), 5).flatMap((found) => modelOf(folder, found));
}

function modelOf(folder: string, { file, path, modifiedMs }: WalkedFile): LocalModel[] {
  const [host = "", ...rest] = file.split("/");
  if (rest.length < 2) return [];
  const tag = rest.pop()!;
  const layer = modelLayerOf(layersOf(readManifest(path)));
  if (layer === undefined) return [];
  const blob = join(folder, "blobs", `sha256-${layer.sha256}`);
  // One that is still being fetched is shorter, or has another name.
  if (fileStats(blob)?.size !== layer.bytes) return [];
  const inside = rest[0] === "library" ? rest.slice(1) : rest;
  // Those that Ollama fetched from Hugging Face have their names there.
  const named = host === ollamaHost || /^(hf\.co|huggingface\.co)$/.test(host);
  const repo = named ? inside.join("/") : [host, ...inside].join("/");
  const { sha256, bytes } = layer;
  return [
    {
      ...{ repo, tag, place: "ollama", path: blob, bytes, modifiedMs },
      aliases: [],
      files: [{ path: blob, bytes, sha256 }],
    },
  ];
}
