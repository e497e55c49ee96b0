/**
 * A PyTorch checkpoint as torch.save writes a state_dict: an archive of stored entries, whose bytes begin at multiples
 * of 64, and a pickle of protocol 2. A tensor's checksum is known when its bytes have passed, so it stands behind them.
 */
import { crc32 } from "node:zlib";
import { elementBytes } from "../stored/stored.js";
import type { SourceTensor } from "../stored/write-source.js";

const alignment = 64;
const prefix = "archive/";

/** Storages that torch has a class for; other types are views of bytes. */
const storages: Readonly<Record<string, string>> = {
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  F64: "DoubleStorage",
  I64: "LongStorage",
  I32: "IntStorage",
  I16: "ShortStorage",
  I8: "CharStorage",
  U8: "ByteStorage",
  BOOL: "BoolStorage",
};
const names: Readonly<Record<string, string>> = { F8_E4M3: "float8_e4m3fn", F8_E5M2: "float8_e5m2" };

interface Written {
  readonly name: string;
  readonly headerAt: number;
  readonly bytes: number;
  readonly crc: number;
}

/** The bytes of the file, chunk by chunk; each is valid until the next is asked for. */
export function* pytorchBytes(tensors: readonly SourceTensor[]): Generator<Uint8Array> {
  const written: Written[] = [];
  let at = 0;
  const add = function* (name: string, bytes: number, chunks: Iterable<Uint8Array>): Generator<Uint8Array> {
    const headerAt = at;
    const header = localHeader(prefix + name, at, bytes);
    yield header;
    let crc = 0;
    for (const chunk of chunks) {
      crc = crc32(chunk, crc);
      yield chunk;
    }
    const end = descriptor(crc, bytes);
    yield end;
    at += header.length + bytes + end.length;
    written.push({ name: prefix + name, headerAt, bytes, crc });
  };
  const small = (name: string, content: Buffer) => add(name, content.length, [content]);
  yield* small("data.pkl", pickle(tensors));
  yield* small("byteorder", Buffer.from("little"));
  for (const [i, { bytes, data }] of tensors.entries()) yield* add(`data/${i}`, bytes, data());
  yield* small("version", Buffer.from("3\n"));
  yield directory(written, at);
}

const descriptorFollows = 8;
const wideVersion = 45;

/** Sizes are of 64 bits and stand behind the bytes. */
function localHeader(name: string, at: number, bytes: number): Buffer {
  const wide = 20;
  const base = at + 30 + name.length + wide + 4;
  const padding = (alignment - (base % alignment)) % alignment;
  const head = Buffer.alloc(30 + name.length + wide + 4 + padding);
  head.writeUInt32LE(0x04034b50, 0);
  head.writeUInt16LE(wideVersion, 4);
  head.writeUInt16LE(descriptorFollows, 6);
  head.writeUInt32LE(0xffffffff, 18);
  head.writeUInt32LE(0xffffffff, 22);
  head.writeUInt16LE(name.length, 26);
  head.writeUInt16LE(wide + 4 + padding, 28);
  head.write(name, 30, "latin1");
  const extra = 30 + name.length;
  writeWide(head, extra, [bytes, bytes]);
  // torch's own field for padding.
  head.write("FB", extra + wide, "latin1");
  head.writeUInt16LE(padding, extra + wide + 2);
  return head;
}

/** The field of numbers of 64 bits. */
function writeWide(out: Buffer, at: number, values: readonly number[]): void {
  out.writeUInt16LE(1, at);
  out.writeUInt16LE(8 * values.length, at + 2);
  for (const [i, value] of values.entries()) out.writeBigUInt64LE(BigInt(value), at + 4 + 8 * i);
}

function descriptor(crc: number, bytes: number): Buffer {
  const out = Buffer.alloc(24);
  out.writeUInt32LE(0x08074b50, 0);
  out.writeUInt32LE(crc, 4);
  out.writeBigUInt64LE(BigInt(bytes), 8);
  out.writeBigUInt64LE(BigInt(bytes), 16);
  return out;
}

function directory(written: readonly Written[], at: number): Buffer {
  const entries = written.map(({ name, headerAt, bytes, crc }) => {
    const out = Buffer.alloc(46 + name.length + 28);
    out.writeUInt32LE(0x02014b50, 0);
    out.writeUInt16LE(wideVersion, 4);
    out.writeUInt16LE(wideVersion, 6);
    out.writeUInt16LE(descriptorFollows, 8);
    out.writeUInt32LE(crc, 16);
    for (const place of [20, 24, 42]) out.writeUInt32LE(0xffffffff, place);
    out.writeUInt16LE(name.length, 28);
    out.writeUInt16LE(28, 30);
    out.write(name, 46, "latin1");
    writeWide(out, 46 + name.length, [bytes, bytes, headerAt]);
    return out;
  });
  const bytes = entries.reduce((sum, entry) => sum + entry.length, 0);
  const end = Buffer.alloc(56 + 20 + 22);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeUInt16LE(wideVersion, 12);
  end.writeUInt16LE(wideVersion, 14);
  for (const place of [24, 32]) end.writeBigUInt64LE(BigInt(entries.length), place);
  end.writeBigUInt64LE(BigInt(bytes), 40);
  end.writeBigUInt64LE(BigInt(at), 48);
  end.writeUInt32LE(0x07064b50, 56);
  end.writeBigUInt64LE(BigInt(at + bytes), 64);
  end.writeUInt32LE(1, 72);
  end.writeUInt32LE(0x06054b50, 76);
  for (const place of [84, 86]) end.writeUInt16LE(0xffff, place);
  for (const place of [88, 92]) end.writeUInt32LE(0xffffffff, place);
  return Buffer.concat([...entries, end]);
}

/** An OrderedDict of tensors; protocol 2, of which only what is needed. */
function pickle(tensors: readonly SourceTensor[]): Buffer {
  const parts: Buffer[] = [Buffer.from("\x80\x02ccollections\nOrderedDict\n)R(", "latin1")];
  for (const [i, { name, dtype, shape, bytes }] of tensors.entries()) {
    const storage = storages[dtype];
    const [module, of] = storage === undefined ? ["torch.storage", "UntypedStorage"] : ["torch", storage];
    const call = storage === undefined ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2";
    const count = storage === undefined ? bytes : bytes / elementBytes[dtype]!;
    parts.push(text(name), Buffer.from(`ctorch._utils\n${call}\n((`, "latin1"));
    parts.push(
      text("storage"),
      Buffer.from(`c${module}\n${of}\n`, "latin1"),
      text(String(i)),
      text("cpu"),
      whole(count),
    );
    const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, size) => product * size, 1));
    // The end of the reference; no offset, shape, strides, no gradient, no hooks.
    parts.push(Buffer.from("tQ"), whole(0), tuple(shape), tuple(strides));
    parts.push(Buffer.from("\x89ccollections\nOrderedDict\n)R", "latin1"));
    if (storage === undefined) parts.push(Buffer.from(`ctorch\n${names[dtype]}\n`));
    parts.push(Buffer.from("tR"));
  }
  parts.push(Buffer.from("u."));
  return Buffer.concat(parts);
}

function text(value: string): Buffer {
  const utf8 = Buffer.from(value);
  const head = Buffer.from("X\0\0\0\0");
  head.writeUInt32LE(utf8.length, 1);
  return Buffer.concat([head, utf8]);
}

/** A whole number, in 31 bits or in eight bytes. */
function whole(value: number): Buffer {
  const out = Buffer.alloc(value < 2 ** 31 ? 5 : 10);
  if (value < 2 ** 31) {
    out.write("J", "latin1");
    out.writeInt32LE(value, 1);
  } else {
    out.write("\x8a\x08", "latin1");
    out.writeBigUInt64LE(BigInt(value), 2);
  }
  return out;
}

const tuple = (values: readonly number[]): Buffer =>
  Buffer.concat([Buffer.from("("), ...values.map(whole), Buffer.from("t")]);
