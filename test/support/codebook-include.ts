/** The code books as C++ text, so that the kernels and the plain decoders have one source. */
import { packedGrids } from "../../src/formats/codebook-grids.js";

export const codebookIncludePath = "native/kernels/codebook_grids.inc";

/** One string literal a book, in lines of 108 characters. */
export function codebookInclude(): string {
  const lines = [
    "// Generated from src/formats/codebook-grids.ts by scripts/write-codebooks.mjs: what the entries are " +
      "is said there.",
  ];
  for (const [name, text] of Object.entries(packedGrids)) {
    lines.push(`constexpr char k_${name}[] =`);
    const pieces = text.match(/.{1,108}/g) ?? [];
    lines.push(...pieces.map((piece, i) => `    "${piece}"${i === pieces.length - 1 ? ";" : ""}`));
  }
  return `${lines.join("\n")}\n`;
}
