// Archives whose bytes depend on what is in them and nothing else: tar (POSIX.1-1988 "ustar") in gzip, and zip
// (PKWARE's APPNOTE, 4.3 and 4.4). No owner, no time, entries in the order of their names.
import { lstatSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, deflateRawSync, gunzipSync, gzipSync } from "node:zlib";

/** Files and folders below `folder`, relative, with `/`; a folder's name ends with it. */
function entriesOf(folder, below = "") {
  return readdirSync(join(folder, below), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const name = below === "" ? entry.name : `${below}/${entry.name}`;
      return entry.isDirectory() ? [`${name}/`, ...entriesOf(folder, name)] : [name];
    });
}

/** Bytes of all files below `folder`. */
export function folderBytes(folder) {
  const files = readdirSync(folder, { recursive: true }).map((name) => lstatSync(join(folder, String(name))));
  return files.reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
}

const isExecutable = (path) => (lstatSync(path).mode & 0o100) !== 0;

/** 1980-01-01, the first day that zip knows. */
const epochSeconds = 315532800;

function tarHeader(name, size, mode, kind, target = "") {
  const header = Buffer.alloc(512);
  let [prefix, rest] = ["", name];
  while (Buffer.byteLength(rest) > 100) {
    const slash = name.indexOf("/", prefix.length === 0 ? 0 : prefix.length + 1);
    if (slash < 0) throw new Error(`${name} is too long a name`);
    prefix = name.slice(0, slash);
    rest = name.slice(slash + 1);
  }
  header.write(rest, 0);
  header.write(mode.toString(8).padStart(7, "0"), 100);
  header.write("0000000\x000000000\x00", 108);
  header.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  header.write(`${epochSeconds.toString(8).padStart(11, "0")}\0        `, 136);
  header.write(kind, 156);
  header.write(target, 157);
  header.write("ustar\x0000", 257);
  header.write(prefix, 345);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

/** Everything in `folder`, whose names begin with `top`/ in the archive. @returns bytes written */
export function writeTarGz(folder, top, file, level = 9) {
  const parts = [];
  for (const name of entriesOf(folder)) {
    const path = join(folder, name);
    const stat = lstatSync(path);
    if (name.endsWith("/")) parts.push(tarHeader(`${top}/${name}`, 0, 0o755, "5"));
    else if (stat.isSymbolicLink()) parts.push(tarHeader(`${top}/${name}`, 0, 0o777, "2", readlinkSync(path)));
    else {
      const bytes = readFileSync(path);
      parts.push(tarHeader(`${top}/${name}`, bytes.length, isExecutable(path) ? 0o755 : 0o644, "0"), bytes);
      parts.push(Buffer.alloc((512 - (bytes.length % 512)) % 512));
    }
  }
  const bytes = gzipSync(Buffer.concat([...parts, Buffer.alloc(1024)]), { level });
  bytes[9] = 255; // the system that packed it: unknown
  writeFileSync(file, bytes);
  return bytes.length;
}

/** One file of a .tar.gz, or undefined. */
export function readFromTarGz(archive, wanted) {
  const bytes = gunzipSync(archive);
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const text = (from, length) => bytes.toString("utf8", at + from, at + from + length).replace(/\0.*$/s, "");
    const size = Number.parseInt(text(124, 12), 8);
    const name = [text(345, 155), text(0, 100)].filter((part) => part !== "").join("/");
    if (name === wanted) return bytes.subarray(at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return undefined;
}

/** The same as a zip, which Windows opens by itself. @returns bytes written */
export function writeZip(folder, top, file, level = 9) {
  const dosDate = 0x21;
  const parts = [];
  const index = [];
  let at = 0;
  for (const entry of entriesOf(folder)) {
    const name = Buffer.from(`${top}/${entry}`);
    const isFolder = entry.endsWith("/");
    const content = isFolder ? Buffer.alloc(0) : readFileSync(join(folder, entry));
    const packed = isFolder ? content : deflateRawSync(content, { level });
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(0x800, 2); // names are UTF-8
    fields.writeUInt16LE(isFolder ? 0 : 8, 4);
    fields.writeUInt16LE(dosDate, 8);
    fields.writeUInt32LE(crc32(content), 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(content.length, 18);
    fields.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), fields, name, packed]);
    const rest = Buffer.alloc(14);
    const mode = isFolder ? 0o40755 : isExecutable(join(folder, entry)) ? 0o100755 : 0o100644;
    rest.writeUInt32LE(((mode << 16) | (isFolder ? 0x10 : 0)) >>> 0, 6);
    rest.writeUInt32LE(at, 10);
    index.push(Buffer.from("PK\x01\x02"), Buffer.from([20, 3]), fields, rest, name);
    parts.push(local);
    at += local.length;
  }
  const directory = Buffer.concat(index);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06");
  end.writeUInt16LE(index.length / 5, 8);
  end.writeUInt16LE(index.length / 5, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  const bytes = Buffer.concat([...parts, directory, end]);
  writeFileSync(file, bytes);
  return bytes.length;
}
