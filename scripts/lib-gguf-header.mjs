// Changes single values in the header of a GGUF file (version 3): what scripts need to make stand-ins of models.
import { readFileSync, writeFileSync } from "node:fs";

const sizes = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const alignment = 32;

const u32 = (value) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const text = (value) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

/** Value types by what JavaScript has: whole numbers, texts, yes or no, lists of texts and of whole numbers. */
function encode(value) {
  if (typeof value === "number") return Buffer.concat([u32(4), u32(value)]);
  if (typeof value === "boolean") return Buffer.concat([u32(7), Buffer.of(value ? 1 : 0)]);
  if (typeof value === "string") return Buffer.concat([u32(8), text(value)]);
  const ofText = typeof value[0] === "string";
  const items = value.map((item) => (ofText ? text(item) : u32(item)));
  return Buffer.concat([u32(9), u32(ofText ? 8 : 5), u64(value.length), ...items]);
}

/** @param values by key; undefined takes a key away */
export function editHeader(from, to, values) {
  const bytes = readFileSync(from);
  let at = 24;
  const skipText = () => {
    at += 8 + Number(bytes.readBigUInt64LE(at));
  };
  const skipValue = (type) => {
    if (type === 8) return skipText();
    if (type !== 9) {
      at += sizes[type];
      return;
    }
    const element = bytes.readUInt32LE(at);
    const count = Number(bytes.readBigUInt64LE(at + 4));
    at += 12;
    for (let i = 0; i < count; i++) skipValue(element);
  };
  const tensors = Number(bytes.readBigUInt64LE(8));
  const pairs = [];
  for (let i = Number(bytes.readBigUInt64LE(16)); i > 0; i--) {
    const begin = at;
    const length = Number(bytes.readBigUInt64LE(at));
    const key = bytes.toString("utf8", at + 8, at + 8 + length);
    at += 8 + length + 4;
    skipValue(bytes.readUInt32LE(at - 4));
    if (!Object.hasOwn(values, key)) pairs.push(bytes.subarray(begin, at));
  }
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined) pairs.push(Buffer.concat([text(key), encode(value)]));
  }
  const infos = at;
  for (let i = 0; i < tensors; i++) {
    skipText();
    at += 4 + 8 * bytes.readUInt32LE(at) + 4 + 8;
  }
  const head = Buffer.concat([bytes.subarray(0, 16), u64(pairs.length), ...pairs, bytes.subarray(infos, at)]);
  const pad = Buffer.alloc((alignment - (head.length % alignment)) % alignment);
  writeFileSync(to, Buffer.concat([head, pad, bytes.subarray(Math.ceil(at / alignment) * alignment)]));
}
