/** Says what a file that is not GGUF looks like, so that the error tells people what to do. */
import type { ErrorCode } from "../errors.js";

export interface Guess {
  readonly code: ErrorCode;
  readonly text: string;
}

const text = (s: string) => [...s].map((c) => c.charCodeAt(0));
const convert = "convert it to GGUF first";

/** Magic bytes at offset 0. ggml's old magics are u32 constants, so their letters stand reversed in the file. */
const magics: readonly { bytes: readonly number[]; code: ErrorCode; text: string }[] = [
  { bytes: text("lmgg"), code: "FORMAT_UNSUPPORTED", text: "an old 'ggml' file from before GGUF; get a GGUF of it" },
  { bytes: text("fmgg"), code: "FORMAT_UNSUPPORTED", text: "an old 'ggmf' file from before GGUF; get a GGUF of it" },
  { bytes: text("tjgg"), code: "FORMAT_UNSUPPORTED", text: "an old 'ggjt' file from before GGUF; get a GGUF of it" },
  { bytes: text("algg"), code: "FORMAT_UNSUPPORTED", text: "an old 'ggla' LoRA file from before GGUF" },
  { bytes: text("ggml"), code: "FORMAT_UNSUPPORTED", text: "an old 'ggml' file from before GGUF; get a GGUF of it" },
  { bytes: text("ggmf"), code: "FORMAT_UNSUPPORTED", text: "an old 'ggmf' file from before GGUF; get a GGUF of it" },
  { bytes: text("ggjt"), code: "FORMAT_UNSUPPORTED", text: "an old 'ggjt' file from before GGUF; get a GGUF of it" },
  {
    bytes: text("PK\x03\x04"),
    code: "FORMAT_UNKNOWN",
    text: "a zip archive; a PyTorch checkpoint is read where config.json lies beside it",
  },
  { bytes: [0x80, 0x02], code: "FORMAT_UNKNOWN", text: `a Python pickle (a PyTorch checkpoint?); ${convert}` },
  { bytes: [0x1f, 0x8b], code: "FORMAT_UNKNOWN", text: "gzip data; unpack it first" },
  { bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a], code: "FORMAT_UNKNOWN", text: "xz data; unpack it first" },
  { bytes: [0x28, 0xb5, 0x2f, 0xfd], code: "FORMAT_UNKNOWN", text: "zstd data; unpack it first" },
  { bytes: text("\x89HDF"), code: "FORMAT_UNKNOWN", text: `an HDF5 file; ${convert}` },
  {
    bytes: text("version https://git-lfs"),
    code: "FORMAT_UNKNOWN",
    text: "a Git LFS pointer, not the model itself; fetch it with 'git lfs pull'",
  },
];

/** `head`: the first bytes of the file (64 or more when it has them). */
export function sniff(head: Uint8Array): Guess {
  if (head.length === 0) return { code: "FORMAT_UNKNOWN", text: "an empty file; download it again" };
  const magic = magics.find((m) => m.bytes.every((byte, i) => head[i] === byte));
  if (magic !== undefined) return magic;
  // safetensors: u64 header length, then JSON. Its header is at most 100 MB, so bytes 4-7 are zero.
  if (head.length > 8 && head[8] === 0x7b && head.subarray(4, 8).every((b) => b === 0)) {
    return { code: "FORMAT_UNSUPPORTED", text: `a safetensors file; ${convert}` };
  }
  if (/^\s*<(!doctype|html|\?xml)/i.test(Buffer.from(head).toString("latin1"))) {
    return { code: "FORMAT_UNKNOWN", text: "a web page, probably a failed download; download it again" };
  }
  if (head[0] === 0x7b) return { code: "FORMAT_UNKNOWN", text: "JSON text" };
  if (head.every((b) => b >= 0x20 || (b >= 9 && b <= 13))) return { code: "FORMAT_UNKNOWN", text: "text" };
  if (head.every((b) => b === 0)) {
    return { code: "FORMAT_UNKNOWN", text: "zero bytes, probably an unfinished download; download it again" };
  }
  return { code: "FORMAT_UNKNOWN", text: "data of an unknown kind" };
}
