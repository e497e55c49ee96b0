/**
 * The directory of a zip archive: where its entries lie. PyTorch stores them as they are, so that a tensor is a range
 * of the file; what is compressed is told, never unpacked.
 * @source PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 to 4.3.16 and 4.5.3
 */
import type { Cursor } from "../../formats/cursor.js";

const limits = {
  /** End of the directory with the longest comment. */
  endBytes: 22 + 0xffff,
  directoryBytes: 128 * 2 ** 20,
  entries: 2 ** 19,
  nameBytes: 1024,
} as const;

const signatures = { end: 0x06054b50, end64: 0x06064b50, locator64: 0x07064b50, entry: 0x02014b50, local: 0x04034b50 };
const none32 = 0xffffffff;

export interface ZipEntry {
  readonly name: string;
  /** 0: stored as it is. */
  readonly method: number;
  readonly encrypted: boolean;
  /** As stored; of an entry that is not compressed its size, too. */
  readonly bytes: number;
  /** Place of the header before the entry's bytes. */
  readonly headerAt: number;
}

/**
 * Entries in the order of the directory.
 * @throws FORMAT_INVALID for a damaged archive
 */
export function readZipDirectory(cursor: Cursor): ZipEntry[] {
  const { count, offset, bytes } = readEnd(cursor);
  if (bytes > limits.directoryBytes) throw cursor.invalid(`the directory has ${bytes} bytes`);
  if (count > limits.entries) throw cursor.invalid(`the directory has ${count} entries`);
  if (offset + bytes > cursor.fileBytes) throw cursor.invalid("the directory lies behind the end; download it again");
  cursor.seek(offset);
  const entries: ZipEntry[] = [];
  for (let i = 0; i < count; i++) {
    if (cursor.position + 46 > offset + bytes) throw cursor.invalid(`the directory ends before entry ${i} of ${count}`);
    entries.push(readEntry(cursor, offset));
  }
  return entries;
}

/** The end of the directory is found from behind: a comment may follow it. */
function readEnd(cursor: Cursor): { count: number; offset: number; bytes: number } {
  const size = Math.min(limits.endBytes, cursor.fileBytes);
  cursor.seek(cursor.fileBytes - size);
  const tail = Buffer.from(cursor.bytes(size, "the end of the archive"));
  let at = size - 22;
  while (at >= 0 && (tail.readUInt32LE(at) !== signatures.end || at + 22 + tail.readUInt16LE(at + 20) > size)) at--;
  if (at < 0) throw cursor.invalid("the zip archive has no directory: it is truncated, download it again");
  const found = {
    count: tail.readUInt16LE(at + 10),
    bytes: tail.readUInt32LE(at + 12),
    offset: tail.readUInt32LE(at + 16),
  };
  const end = cursor.fileBytes - size + at;
  if (found.count !== 0xffff && found.bytes !== none32 && found.offset !== none32) return found;
  if (end < 20) throw cursor.invalid("the directory's larger end is missing");
  cursor.seek(end - 20);
  if (cursor.u32("the locator") !== signatures.locator64) throw cursor.invalid("the directory's larger end is missing");
  cursor.seek(end - 12);
  const end64 = cursor.length(true, cursor.fileBytes - 56, "the place of the directory's end");
  cursor.seek(end64);
  if (cursor.u32("the directory's end") !== signatures.end64)
    throw cursor.invalid("the directory's larger end is missing");
  cursor.seek(end64 + 32);
  const count = cursor.length(true, limits.entries, "the number of entries");
  const bytes = cursor.length(true, limits.directoryBytes, "the directory's size");
  return { count, bytes, offset: cursor.length(true, cursor.fileBytes, "the directory's place") };
}

function readEntry(cursor: Cursor, directoryAt: number): ZipEntry {
  const start = cursor.position;
  const head = Buffer.from(cursor.bytes(46, "an entry of the directory"));
  if (head.readUInt32LE(0) !== signatures.entry) throw cursor.invalid(`no entry at byte ${start}, where one should be`);
  const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((at) => head.readUInt16LE(at)) as [
    number,
    number,
    number,
  ];
  if (nameBytes > limits.nameBytes) throw cursor.invalid(`an entry's name has ${nameBytes} bytes`);
  const name = cursor.text(nameBytes, "an entry's name");
  const extra = Buffer.from(cursor.bytes(extraBytes, `what belongs to '${name}'`));
  cursor.bytes(commentBytes, `the comment of '${name}'`);
  const wide = wideNumbers(extra);
  const numberAt = (at: number): number => {
    const small = head.readUInt32LE(at);
    return small === none32 ? wide() : small;
  };
  // The order in which the larger numbers stand.
  const full = numberAt(24);
  const bytes = numberAt(20);
  const headerAt = numberAt(42);
  const method = head.readUInt16LE(10);
  if (![full, bytes, headerAt].every(Number.isSafeInteger) || headerAt + 30 + bytes > directoryAt)
    throw cursor.invalid(`entry '${name}' of ${bytes} bytes at ${headerAt} lies behind the directory`);
  if (method === 0 && full !== bytes) throw cursor.invalid(`entry '${name}' has two sizes, ${bytes} and ${full}`);
  return { name, method, encrypted: (head.readUInt16LE(8) & 1) !== 0, bytes, headerAt };
}

/** Numbers of 64 bits, one after the other; NaN where there are no more. */
function wideNumbers(extra: Buffer): () => number {
  let at = 0;
  while (at + 4 <= extra.length && extra.readUInt16LE(at) !== 1) at += 4 + extra.readUInt16LE(at + 2);
  const end = at + 4 <= extra.length ? Math.min(extra.length, at + 4 + extra.readUInt16LE(at + 2)) : 0;
  at += 4;
  return () => {
    const value = at + 8 <= end ? Number(extra.readBigUInt64LE(at)) : Number.NaN;
    at += 8;
    return value;
  };
}

/**
 * Where the bytes of an entry begin: its own header may be longer than the directory says.
 * @throws FORMAT_INVALID when no header is there, FORMAT_UNSUPPORTED when it is not stored as it is
 */
export function entryOffset(cursor: Cursor, entry: ZipEntry): number {
  const { name, method, encrypted, bytes, headerAt } = entry;
  if (method !== 0 || encrypted)
    throw cursor.unsupported(
      `'${name}' is ${encrypted ? "encrypted" : "compressed"}, tensors are read where they lie; ` +
        "unpack the archive and pack it again with 'zip -0 -r', or save it again with torch.save",
    );
  cursor.seek(headerAt);
  const head = Buffer.from(cursor.bytes(30, `the header of '${name}'`));
  if (head.readUInt32LE(0) !== signatures.local) throw cursor.invalid(`'${name}' has no header at byte ${headerAt}`);
  const offset = headerAt + 30 + head.readUInt16LE(26) + head.readUInt16LE(28);
  if (offset + bytes > cursor.fileBytes) throw cursor.invalid(`'${name}' ends behind the file; download it again`);
  return offset;
}
