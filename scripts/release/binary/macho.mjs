// What a bundle of macOS offers and asks for: Mach-O, 64 bits (mach-o/loader.h and nlist.h; signatures: xnu's
// cs_blobs.h).
import { createHash } from "node:crypto";

const machines = { 16777223: "x86_64", 16777228: "aarch64" };
const LC = {
  symtab: 0x2,
  loadDylib: 0xc,
  rpath: 0x8000001c,
  signature: 0x1d,
  buildVersion: 0x32,
  weakDylib: 0x80000018,
};

const cString = (bytes, at) => bytes.toString("latin1", at, bytes.indexOf(0, at));

/** { machine, kind, exports[], imports[{ name }], libraries[], paths[], system, signature? } */
export function readMachO(bytes) {
  if (bytes.readUInt32LE(0) !== 0xfeedfacf) throw new Error("no 64-bit Mach-O file");
  const found = { exports: [], imports: [], libraries: [], paths: [] };
  let command = 32;
  for (let i = bytes.readUInt32LE(16); i > 0; i--) {
    const kind = bytes.readUInt32LE(command);
    if (kind === LC.loadDylib || kind === LC.weakDylib)
      found.libraries.push(cString(bytes, command + bytes.readUInt32LE(command + 8)));
    if (kind === LC.rpath) found.paths.push(cString(bytes, command + bytes.readUInt32LE(command + 8)));
    if (kind === LC.buildVersion) {
      const version = bytes.readUInt32LE(command + 12);
      found.system = `${version >> 16}.${(version >> 8) & 255}`;
    }
    if (kind === LC.symtab) readSymbols(bytes, command, found);
    if (kind === LC.signature) found.signature = readSignature(bytes, bytes.readUInt32LE(command + 8));
    command += bytes.readUInt32LE(command + 4);
  }
  return {
    format: "macho",
    machine: machines[bytes.readUInt32LE(4)] ?? "?",
    kind: { 6: "library", 8: "bundle" }[bytes.readUInt32LE(12)] ?? "other",
    ...found,
    exports: found.exports.sort(),
  };
}

function readSymbols(bytes, command, { exports, imports }) {
  const [first, count, strings] = [8, 12, 16].map((offset) => bytes.readUInt32LE(command + offset));
  for (let i = 0; i < count; i++) {
    const symbol = first + 16 * i;
    const type = bytes[symbol + 4];
    // Entries of debuggers, and names of this file only.
    if ((type & 0xe0) !== 0 || (type & 1) === 0) continue;
    const name = cString(bytes, strings + bytes.readUInt32LE(symbol)).replace(/^_/, "");
    if ((type & 0x0e) === 0) imports.push({ name });
    else if ((type & 0x10) === 0) exports.push(name);
  }
}

/** { adhoc, pages, wrongPages }: each page of the file is hashed as the kernel does before it runs one. */
function readSignature(bytes, at) {
  if (bytes.readUInt32BE(at) !== 0xfade0cc0) throw new Error("a signature that is no super blob");
  for (let i = 0; i < bytes.readUInt32BE(at + 8); i++) {
    const blob = at + bytes.readUInt32BE(at + 16 + 8 * i);
    if (bytes.readUInt32BE(blob) !== 0xfade0c02) continue;
    const hashes = blob + bytes.readUInt32BE(blob + 16);
    const pages = bytes.readUInt32BE(blob + 28);
    const limit = bytes.readUInt32BE(blob + 32);
    const size = bytes[blob + 36];
    if (bytes[blob + 37] !== 2 || size !== 32) throw new Error("a signature of other hashes than SHA-256");
    const pageBytes = 2 ** bytes[blob + 39];
    let wrongPages = 0;
    for (let page = 0; page < pages; page++) {
      const content = bytes.subarray(page * pageBytes, Math.min(limit, (page + 1) * pageBytes));
      const hash = createHash("sha256").update(content).digest();
      if (!hash.equals(bytes.subarray(hashes + size * page, hashes + size * (page + 1)))) wrongPages++;
    }
    return { adhoc: (bytes.readUInt32BE(blob + 12) & 2) !== 0, pages, wrongPages };
  }
  throw new Error("a signature without a code directory");
}
