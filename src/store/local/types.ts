/** The models on this computer, whichever program put them there. */

/** The program whose folder a model lies in. */
export type PlaceKind = "hundredweight" | "hugging-face" | "llama.cpp" | "ollama" | "lm-studio" | "jan" | "gpt4all";

/** A folder in which a program keeps models. */
export interface Place {
  readonly kind: PlaceKind;
  readonly folder: string;
}

export interface LocalFile {
  /** Absolute. */
  readonly path: string;
  readonly bytes: number;
  /** Where the place knows it: 64 hexadecimal digits. */
  readonly sha256?: string;
}

/** A model that lies on this computer and is run where it lies. */
export interface LocalModel {
  /** The repository or the name before the tag: `Qwen/Qwen3-8B-GGUF`, `llama3.2`. */
  readonly repo: string;
  /** Tells the models of a repository apart: the quantization, or Ollama's tag. */
  readonly tag: string;
  /** Further names of just this model. */
  readonly aliases: readonly string[];
  readonly place: PlaceKind;
  /** The word for whoever opens it: the first file, or a folder. */
  readonly path: string;
  readonly files: readonly LocalFile[];
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly modifiedMs: number;
}

/** The name under which a model is listed, and by which every command takes it. */
export function nameOf({ repo, tag }: Pick<LocalModel, "repo" | "tag">): string {
  return tag === "" ? repo : `${repo}:${tag}`;
}
