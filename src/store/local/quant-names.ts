/** Quantizations and companions as names of files tell them. */

/** Types of weights, as names of files have them. */
const types = [
  String.raw`I?Q\d(?:_K)?(?:_(?:XXS|XS|XXL|XL|[SMLP01]|NL|K))*`,
  String.raw`TQ\d_\d`,
  ..."MXFP4(?:_MOE)? NVFP4 BF16 F16 F32 FP16 FP32".split(" "),
];
/** A type between separators. */
const quantPattern = new RegExp(`(?:^|[-._/])((?:UD-)?(?:${types.join("|")}))(?=$|[-._/])`, "gi");

/** `sub/Model-7B-Q4_K_M-00001-of-00002.gguf` -> `Q4_K_M`; undefined where the name says none. */
export function quantOf(file: string): string | undefined {
  const stem = stemOf(file);
  const found = [...stem.matchAll(quantPattern)].at(-1)?.[1] ?? [...file.matchAll(quantPattern)].at(-1)?.[1];
  return found?.toUpperCase();
}

export const shardName = /-(\d{5})-of-(\d{5})(\.gguf)$/i;

/** The name of a file without folders, number of a shard, and ending. */
export function stemOf(file: string): string {
  const name = file.slice(file.lastIndexOf("/") + 1);
  return name.replace(shardName, "").replace(/\.gguf$/i, "");
}

/** Tells the models of a repository apart: the quantization, else the file's own name. */
export const tagOf = (file: string): string => quantOf(file) ?? stemOf(file);

/** Files beside a model that are none by themselves: projectors of images, statistics, small models that guess. */
export function isCompanion(file: string): boolean {
  const name = file.slice(file.lastIndexOf("/") + 1).toLowerCase();
  return /(^|[-._])(mmproj|imatrix)/.test(name) || /^(mtp|eagle3?|dflash)-/.test(name) || name.includes("imatrix");
}

/** The order in which llama.cpp chooses where nothing is said. */
const usual = ["Q4_K_M", "Q8_0"];

/** The first of llama.cpp's usual choices, else the first there is. */
export function preferred<T extends { readonly tag: string }>(models: readonly T[]): T | undefined {
  for (const tag of ["latest", ...usual]) {
    const found = models.find((model) => model.tag.toUpperCase() === tag.toUpperCase());
    if (found !== undefined) return found;
  }
  return models[0];
}
