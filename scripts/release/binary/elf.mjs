// What a shared object of Linux offers and asks for: ELF, 64 bits, little endian (System V gABI, chapters 4 and 5;
// symbol versions: LSB core, 10.7).
const machines = { 62: "x86_64", 183: "aarch64" };
const DT = { needed: 1, strtab: 5, symtab: 6, soname: 14, rpath: 15, runpath: 29, versym: 0x6ffffff0 };
const VERNEED = 0x6ffffffe;
const VERNEED_COUNT = 0x6fffffff;

const cString = (bytes, at) => bytes.toString("latin1", at, bytes.indexOf(0, at));

/** { machine, exports[], imports[{ name, version? }], libraries[], paths[], sections[] } */
export function readElf(bytes) {
  if (bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) throw new Error("no 64-bit ELF file");
  const at = (offset) => Number(bytes.readBigUInt64LE(offset));
  const programs = headers(at(32), bytes.readUInt16LE(54), bytes.readUInt16LE(56));
  const loads = programs.filter((header) => bytes.readUInt32LE(header) === 1);
  /** Where in the file the byte of an address lies. */
  const fileOffset = (address) => {
    const load = loads.find((header) => address >= at(header + 16) && address < at(header + 16) + at(header + 32));
    if (load === undefined) throw new Error(`address ${address} is in no segment of the file`);
    return address - at(load + 16) + at(load + 8);
  };
  const dynamic = programs.find((header) => bytes.readUInt32LE(header) === 2);
  if (dynamic === undefined) throw new Error("no dynamic section");
  const entries = [];
  for (let offset = at(dynamic + 8); at(offset) !== 0; offset += 16) entries.push([at(offset), at(offset + 8)]);
  const entry = (tag) => entries.find(([t]) => t === tag)?.[1];
  const strings = fileOffset(entry(DT.strtab));
  const text = (offset) => cString(bytes, strings + offset);
  const texts = (...tags) => entries.filter(([tag]) => tags.includes(tag)).map(([, offset]) => text(offset));

  const versions = new Map();
  let need = entry(VERNEED) === undefined ? 0 : fileOffset(entry(VERNEED));
  for (let i = entry(VERNEED_COUNT) ?? 0; i > 0; i--) {
    let aux = need + bytes.readUInt32LE(need + 8);
    for (let j = bytes.readUInt16LE(need + 2); j > 0; j--) {
      versions.set(bytes.readUInt16LE(aux + 6) & 0x7fff, text(bytes.readUInt32LE(aux + 8)));
      aux += bytes.readUInt32LE(aux + 12);
    }
    need += bytes.readUInt32LE(need + 12);
  }

  // The table of symbols does not say how long it is; the section header does.
  const sections = headers(at(40), bytes.readUInt16LE(58), bytes.readUInt16LE(60));
  const names = at(sections[bytes.readUInt16LE(62)] + 24);
  const symbols = sections.find((section) => bytes.readUInt32LE(section + 4) === 11);
  if (symbols === undefined) throw new Error("no section of dynamic symbols");
  const exports = [];
  const imports = [];
  const first = fileOffset(entry(DT.symtab));
  const versym = entry(DT.versym) === undefined ? undefined : fileOffset(entry(DT.versym));
  for (let i = 1; i < at(symbols + 32) / 24; i++) {
    const symbol = first + i * 24;
    const name = text(bytes.readUInt32LE(symbol));
    const isGlobal = bytes[symbol + 4] >> 4 !== 0;
    if (bytes.readUInt16LE(symbol + 6) === 0) {
      const version = versym === undefined ? undefined : versions.get(bytes.readUInt16LE(versym + 2 * i) & 0x7fff);
      imports.push({ name, weak: bytes[symbol + 4] >> 4 === 2, ...(version !== undefined && { version }) });
    } else if (isGlobal) {
      exports.push(name);
    }
  }
  return {
    format: "elf",
    machine: machines[bytes.readUInt16LE(18)] ?? "?",
    exports: exports.sort(),
    imports,
    libraries: texts(DT.needed),
    paths: texts(DT.rpath, DT.runpath),
    sections: sections.map((section) => cString(bytes, names + bytes.readUInt32LE(section))).filter(Boolean),
  };
}

const headers = (first, size, count) => Array.from({ length: count }, (_, i) => first + i * size);
