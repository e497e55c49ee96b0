// What a DLL of Windows offers and asks for: PE32+ (the Microsoft "PE Format" page, sections "Optional Header Data
// Directories", ".edata", ".idata", "Delay-Load Import Tables").
const machines = { 34404: "x86_64", 43620: "aarch64" };

/** { machine, exports[], imports[{ name, library, delayed }], libraries[], timestamp } */
export function readPe(bytes) {
  const header = bytes.readUInt32LE(0x3c);
  if (bytes.toString("latin1", 0, 2) !== "MZ" || bytes.readUInt32LE(header) !== 0x4550) throw new Error("no PE file");
  const optional = header + 24;
  if (bytes.readUInt16LE(optional) !== 0x20b) throw new Error("no PE32+ file");
  const sectionTable = optional + bytes.readUInt16LE(header + 20);
  const sections = Array.from({ length: bytes.readUInt16LE(header + 6) }, (_, i) => sectionTable + 40 * i);
  const at = (address) => {
    const section = sections.find((each) => {
      const first = bytes.readUInt32LE(each + 12);
      return address >= first && address < first + bytes.readUInt32LE(each + 16);
    });
    if (section === undefined) throw new Error(`address ${address} is in no section of the file`);
    return address - bytes.readUInt32LE(section + 12) + bytes.readUInt32LE(section + 20);
  };
  const directory = (index) => bytes.readUInt32LE(optional + 112 + 8 * index);
  const cString = (address) => bytes.toString("latin1", at(address), bytes.indexOf(0, at(address)));

  const exports = [];
  if (directory(0) !== 0) {
    const table = at(directory(0));
    const names = at(bytes.readUInt32LE(table + 32));
    for (let i = 0; i < bytes.readUInt32LE(table + 24); i++) exports.push(cString(bytes.readUInt32LE(names + 4 * i)));
  }
  const imports = [];
  const libraries = [];
  const take = (library, thunks, delayed) => {
    libraries.push(library);
    for (let thunk = at(thunks); bytes.readBigUInt64LE(thunk) !== 0n; thunk += 8) {
      const value = bytes.readBigUInt64LE(thunk);
      const isOrdinal = value >> 63n === 1n;
      imports.push({ name: isOrdinal ? `#${value & 0xffffn}` : cString(Number(value) + 2), library, delayed });
    }
  };
  if (directory(1) !== 0) {
    for (let row = at(directory(1)); bytes.readUInt32LE(row + 12) !== 0; row += 20)
      take(cString(bytes.readUInt32LE(row + 12)), bytes.readUInt32LE(row) || bytes.readUInt32LE(row + 16), false);
  }
  if (directory(13) !== 0) {
    for (let row = at(directory(13)); bytes.readUInt32LE(row + 4) !== 0; row += 32)
      take(cString(bytes.readUInt32LE(row + 4)), bytes.readUInt32LE(row + 16), true);
  }
  return {
    format: "pe",
    machine: machines[bytes.readUInt16LE(header + 4)] ?? "?",
    exports: exports.sort(),
    imports,
    libraries,
    timestamp: bytes.readUInt32LE(header + 8),
  };
}
