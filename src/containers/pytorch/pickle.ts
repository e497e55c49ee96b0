/**
 * A pickle as data. What Python would import and call is looked up in a list of what the caller allows, and anything
 * else is refused by its name: nothing is imported, nothing runs.
 * @source CPython Lib/pickletools.py, pickle protocols 2 to 5
 */
import { HundredweightError } from "../../errors.js";

const limits = { stack: 2 ** 22, memo: 2 ** 22, textBytes: 2 ** 20 } as const;

/** Something that a pickle names. */
export class PickleGlobal {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** Something that lies outside of the pickle, by whatever names it. */
export class PickleReference {
  readonly id: PickleValue;
  constructor(id: PickleValue) {
    this.id = id;
  }
}

export type PickleValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleGlobal
  | PickleReference
  | object;

export interface PickleRules {
  /** Names such as `torch._utils._rebuild_tensor_v2`. */
  readonly allows: (name: string) => boolean;
  /** The result of a call of what was allowed. */
  readonly call: (name: string, args: readonly PickleValue[]) => PickleValue;
}

const mark = Symbol("mark");
type Slot = PickleValue | typeof mark;

/**
 * Reads one value.
 * @param where begins the error messages: the file and the entry
 * @throws FORMAT_INVALID when it is damaged, FORMAT_UNSUPPORTED naming what it would have imported
 */
export function readPickle(bytes: Uint8Array, where: string, rules: PickleRules): PickleValue {
  return new Unpickler(bytes, where, rules).run();
}

class Unpickler {
  readonly #bytes: Buffer;
  readonly #where: string;
  readonly #rules: PickleRules;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #at = 0;

  constructor(bytes: Uint8Array, where: string, rules: PickleRules) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
    this.#rules = rules;
  }

  run(): PickleValue {
    for (;;) {
      const op = this.#u8();
      if (op === 0x2e) break;
      const act = operations[op];
      if (act === undefined)
        throw this.invalid(`the operation 0x${op.toString(16)} at byte ${this.#at - 1}, which no checkpoint needs,`);
      act(this);
    }
    const value = this.pop();
    if (this.#stack.length > 0) throw this.invalid("more than one value");
    return value;
  }

  invalid(what: string): HundredweightError {
    return new HundredweightError("FORMAT_INVALID", `${this.#where}: the pickle has ${what} and is damaged`);
  }

  // --- bytes

  take(count: number): Buffer {
    if (count > this.#bytes.length - this.#at) throw this.invalid(`an end at byte ${this.#bytes.length}`);
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }
  #u8(): number {
    return this.take(1)[0]!;
  }
  u8 = (): number => this.#u8();
  u16 = (): number => this.take(2).readUInt16LE(0);
  u32 = (): number => this.take(4).readUInt32LE(0);
  i32 = (): number => this.take(4).readInt32LE(0);
  u64 = (): number => {
    const value = Number(this.take(8).readBigUInt64LE(0));
    if (!Number.isSafeInteger(value)) throw this.invalid(`a length of ${value}`);
    return value;
  };
  text(count: number): string {
    if (count > limits.textBytes) throw this.invalid(`a text of ${count} bytes`);
    return this.take(count).toString("utf8");
  }
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0 || end - this.#at > limits.textBytes) throw this.invalid("a line without an end");
    return this.text(end - this.#at + 1).slice(0, -1);
  }
  /** Two's complement, lowest byte first. */
  long(count: number): number | bigint {
    const own = this.take(count);
    if (count > 64) throw this.invalid(`a number of ${count} bytes`);
    let value = 0n;
    for (let i = count - 1; i >= 0; i--) value = (value << 8n) | BigInt(own[i]!);
    if (count > 0 && own[count - 1]! >= 128) value -= 1n << BigInt(8 * count);
    const small = Number(value);
    return Number.isSafeInteger(small) ? small : value;
  }

  // --- stack

  push(value: Slot): void {
    if (this.#stack.length === limits.stack) throw this.invalid(`more than ${limits.stack} values at once`);
    this.#stack.push(value);
  }
  pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === mark) throw this.invalid("nothing where a value is needed");
    return value;
  }
  top(): PickleValue {
    const value = this.#stack.at(-1);
    if (value === undefined || value === mark) throw this.invalid("nothing where a value is needed");
    return value;
  }
  /** Values above the last mark. */
  marked(): PickleValue[] {
    const at = this.#stack.lastIndexOf(mark);
    if (at < 0) throw this.invalid("no mark");
    const values = this.#stack.splice(at) as PickleValue[];
    values.shift();
    return values;
  }
  popAny(): void {
    if (this.#stack.pop() === undefined) throw this.invalid("nothing to drop");
  }

  put(at: number): void {
    if (this.#memo.size === limits.memo) throw this.invalid(`more than ${limits.memo} values to remember`);
    this.#memo.set(at, this.top());
  }
  memoize(): void {
    this.put(this.#memo.size);
  }
  get(at: number): void {
    const value = this.#memo.get(at);
    if (value === undefined) throw this.invalid(`no value ${at} to remember`);
    this.push(value);
  }

  // --- containers, names and calls

  set(pairs: readonly PickleValue[]): void {
    const target = this.top();
    if (!(target instanceof Map) || pairs.length % 2 !== 0) throw this.invalid("pairs for what is no dictionary");
    for (let i = 0; i < pairs.length; i += 2) target.set(pairs[i]!, pairs[i + 1]!);
  }
  append(values: readonly PickleValue[]): void {
    const target = this.top();
    if (!Array.isArray(target)) throw this.invalid("elements for what is no list");
    for (const value of values) target.push(value);
  }
  global(module: PickleValue, name: PickleValue): void {
    if (typeof module !== "string" || typeof name !== "string") throw this.invalid("a name that is no text");
    const whole = `${module}.${name}`;
    if (!this.#rules.allows(whole)) throw this.#refused(whole);
    this.push(new PickleGlobal(whole));
  }
  #refused(name: string): HundredweightError {
    const shown = name.slice(0, 200);
    return new HundredweightError(
      "FORMAT_UNSUPPORTED",
      `${this.#where}: wants '${shown}' of Python, which a checkpoint of weights does not need and which could run ` +
        "anything; nothing was run. Use the safetensors of the model, or save its state_dict alone",
      { global: shown },
    );
  }
  reduce(): void {
    const args = this.pop();
    const called = this.pop();
    if (!(called instanceof PickleGlobal) || !Array.isArray(args)) throw this.invalid("a call of what is no name");
    this.push(this.#rules.call(called.name, args));
  }
  /** Attributes of an object (`_metadata` of a state_dict): of no use here. */
  build(): void {
    this.pop();
    this.top();
  }
}

const constant = (value: () => PickleValue) => (u: Unpickler) => u.push(value());

const operations: Readonly<Record<number, (u: Unpickler) => void>> = {
  128: (u) => {
    const protocol = u.u8();
    if (protocol > 5) throw u.invalid(`protocol ${protocol}`);
  },
  149: (u) => void u.take(8), // FRAME
  40: (u) => u.push(mark),
  48: (u) => u.popAny(),
  49: (u) => void u.marked(),
  50: (u) => u.push(u.top()), // DUP
  78: constant(() => null),
  136: constant(() => true),
  137: constant(() => false),
  125: constant(() => new Map()),
  93: constant(() => []),
  41: constant(() => []),
  116: (u) => u.push(u.marked()),
  133: (u) => u.push([u.pop()]),
  134: (u) => {
    const b = u.pop();
    u.push([u.pop(), b]);
  },
  135: (u) => {
    const [c, b] = [u.pop(), u.pop()];
    u.push([u.pop(), b, c]);
  },
  108: (u) => u.push(u.marked()), // LIST
  100: (u) => {
    const pairs = u.marked();
    u.push(new Map());
    u.set(pairs);
  },
  97: (u) => {
    const value = u.pop();
    u.append([value]);
  },
  101: (u) => {
    const values = u.marked();
    u.append(values);
  },
  115: (u) => {
    const value = u.pop();
    const key = u.pop();
    u.set([key, value]);
  },
  117: (u) => {
    const pairs = u.marked();
    u.set(pairs);
  },
  74: (u) => u.push(u.i32()),
  75: (u) => u.push(u.u8()),
  77: (u) => u.push(u.u16()),
  138: (u) => u.push(u.long(u.u8())),
  139: (u) => u.push(u.long(Math.max(0, u.i32()))),
  71: (u) => u.push(u.take(8).readDoubleBE(0)),
  88: (u) => u.push(u.text(u.u32())),
  140: (u) => u.push(u.text(u.u8())),
  141: (u) => u.push(u.text(u.u64())),
  84: (u) => u.push(u.text(u.u32())), // BINSTRING
  85: (u) => u.push(u.text(u.u8())),
  66: (u) => u.push(u.take(u.u32())), // BINBYTES
  67: (u) => u.push(u.take(u.u8())),
  142: (u) => u.push(u.take(u.u64())),
  113: (u) => u.put(u.u8()),
  114: (u) => u.put(u.u32()),
  148: (u) => u.memoize(),
  104: (u) => u.get(u.u8()),
  106: (u) => u.get(u.u32()),
  99: (u) => {
    const module = u.line();
    u.global(module, u.line());
  },
  147: (u) => {
    const name = u.pop();
    u.global(u.pop(), name);
  },
  // INST names a class as GLOBAL does: it is refused by its name, or has no use here.
  105: (u) => {
    const module = u.line();
    u.global(module, u.line());
    throw u.invalid("an old kind of object");
  },
  82: (u) => u.reduce(),
  129: (u) => u.reduce(), // NEWOBJ
  98: (u) => u.build(),
  81: (u) => u.push(new PickleReference(u.pop())),
};
