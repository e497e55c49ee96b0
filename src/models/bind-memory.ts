/**
 * Which values share memory. A value lives from the call that makes it to the last that reads it; values that do not
 * live at the same time may lie in the same place, and a verb that works in place gives its input's place to its
 * output.
 */
import { HundredweightError } from "../errors.js";
import type { GluKind } from "../ops/ops.js";
import type { Call, Program } from "./flow/calls.js";
import type { Routes, Selection, Value, Weight } from "./flow/flow.js";

/** A call of the bound list: as recorded, a copy of a value that would be overwritten too early, or two as one. */
export type ListedCall = Call | Copy | GatedProduct;
/** act(gate · x) * (up · x), without a value for either. */
export interface GatedProduct {
  readonly verb: "gated";
  readonly gate: Weight;
  readonly up: Weight;
  readonly act: GluKind;
  readonly inputs: readonly [Value];
  readonly outputs: readonly [Value];
  readonly hint: boolean;
}
export interface Copy {
  readonly verb: "copy";
  readonly inputs: readonly [Value];
  readonly outputs: readonly [Value];
  readonly hint: boolean;
}

/** The input whose place the output takes: `must` by the verb's nature, or may where it dies. */
function inPlace(call: ListedCall): { readonly input: Value; readonly must: boolean } | undefined {
  switch (call.verb) {
    case "act":
    case "multiply":
    case "multiplyVector":
    case "addVector":
    case "headNorm":
    case "centreHeads":
    case "temper":
    case "xielu":
    case "sparsify":
    case "matchSize":
    case "rope":
    case "add":
    case "shift":
    case "scale":
    case "softcap":
      return { input: call.inputs[0]!, must: true };
    case "linear":
      return call.into ? { input: call.inputs[1]!, must: true } : undefined;
    case "lowRank":
      return call.adapter === null ? undefined : { input: call.inputs.at(-1)!, must: true };
    case "norm":
    case "layerNorm":
    case "glu":
      return { input: call.inputs[0]!, must: false };
    default:
      return undefined;
  }
}

/** How often each value is read; outputs once more. */
function readers({ calls, outputs }: Program): Map<Value, number> {
  const counts = new Map<Value, number>();
  const read = (value: Value): unknown => counts.set(value, (counts.get(value) ?? 0) + 1);
  for (const call of calls) call.inputs.forEach(read);
  Object.values(outputs).forEach(read);
  return counts;
}

/** Products whose only reader follows them at once, and gates one with the other. */
function gatedProduct(
  call: Call,
  last: ListedCall | undefined,
  counts: ReadonlyMap<Value, number>,
): GatedProduct | undefined {
  if (call.verb !== "glu" || last?.verb !== "linear" || last.weights.length !== 2 || last.into) return undefined;
  const [gate, up] = last.weights as readonly [Weight, Weight];
  const alone = last.outputs.every((output, i) => call.inputs[i] === output && counts.get(output) === 1);
  if (!alone || gate.transposed || up.transposed) return undefined;
  const [x, y, { hint, act }] = [last.inputs[0]!, call.outputs[0]!, call];
  // Bounded activations have no kernel that products end with.
  if (typeof act === "object") return undefined;
  return { verb: "gated", gate, up, act, inputs: [x], outputs: [y], hint };
}

/**
 * A product whose only reader adds it to a stream right away goes there itself, and one that is gated right away gates
 * itself: the same numbers, and no value between.
 */
function fuse(program: Program): { readonly calls: ListedCall[]; readonly starts: number[] } {
  const counts = readers(program);
  const calls: ListedCall[] = [];
  const starts: number[] = [];
  for (const [i, call] of program.calls.entries()) {
    starts[i] = calls.length;
    const last = calls.at(-1);
    const [stream, y] = call.inputs as readonly [Value, Value];
    if (
      call.verb === "add" &&
      last?.verb === "linear" &&
      last.weights.length === 1 &&
      !last.into &&
      last.outputs[0] === y &&
      counts.get(y) === 1 &&
      stream !== y &&
      last.inputs[0] !== stream
    ) {
      calls[calls.length - 1] = { ...last, into: true, inputs: [last.inputs[0]!, stream], outputs: call.outputs };
      continue;
    }
    const gated = gatedProduct(call, last, counts);
    if (gated === undefined) calls.push(call);
    else calls[calls.length - 1] = gated;
  }
  starts.push(calls.length);
  return { calls, starts };
}

/** Rows and columns a value has room for. */
export interface Room {
  readonly rows: number;
  readonly cols: number;
}

export interface Places {
  readonly calls: readonly ListedCall[];
  /** Index of the first call of the end: those are repeated for every slice of wanted rows. */
  readonly end: number;
  /** Floats of all values together. */
  readonly floats: number;
  /** Where a value begins, in floats. */
  readonly offsetOf: ReadonlyMap<Value, number>;
  /** Which routing, of those with as many ranks; choices of positions are kept in the same way. */
  readonly routingOf: ReadonlyMap<Routes | Selection, number>;
}

/** Values begin at cache lines. */
const alignment = 16;

/** A stretch of calls; two of them overlap when they share one. */
interface Life {
  readonly from: number;
  to: number;
}

/** The places of a program's values. `rowsOf`: rows that a set of rows may have. */
export function placeValues(program: Program, rowsOf: (value: Value) => number): Places {
  const fused = fuse(program);
  const endOfFused = fused.starts[program.layers.at(-1)!]!;
  const { calls, end } = withCopies(fused.calls, endOfFused, program);

  // Lives of roots: values that share a place by nature are one.
  const lastRead = lastReads(calls, end, program);
  const root = new Map<Value, Value>();
  const lives = new Map<Value, Life>();
  for (const input of Object.values(program.inputs)) {
    root.set(input, input);
    lives.set(input, { from: -1, to: lastRead.get(input) ?? -1 });
  }
  for (const [i, call] of calls.entries()) {
    const own = inPlace(call);
    for (const output of call.outputs) {
      const taken =
        own !== undefined &&
        lastRead.get(own.input) === i &&
        own.input.cols === output.cols &&
        own.input.rows === output.rows
          ? root.get(own.input)
          : undefined;
      const base = taken ?? output;
      root.set(output, base);
      const life = lives.get(base);
      const to = lastRead.get(output) ?? i;
      if (life === undefined) lives.set(base, { from: i, to });
      else life.to = Math.max(life.to, to);
    }
  }

  const size = (value: Value): number => Math.ceil((rowsOf(value) * value.cols) / alignment) * alignment;
  const lanes = layLanes([...lives].map(([value, life]) => ({ value, life, floats: size(value) })));
  let floats = 0;
  const offsets = new Map<Value, number>();
  for (const lane of lanes) {
    floats = Math.max(floats, lane.offset + lane.floats);
    for (const { value } of lane.members) offsets.set(value, lane.offset);
  }
  const offsetOf = new Map([...root].map(([value, base]) => [value, offsets.get(base)!]));
  return { calls, end, floats, offsetOf, routingOf: placeRoutings(calls) };
}

/** A value that is overwritten while somebody still wants it is copied first. */
function withCopies(fused: readonly ListedCall[], end: number, program: Program): { calls: ListedCall[]; end: number } {
  const lastRead = lastReads(fused, end, program);
  const calls: ListedCall[] = [];
  // A stage has no end: all its calls are of layers.
  let newEnd: number | undefined;
  let copies = 0;
  for (const [i, call] of fused.entries()) {
    if (i === end) newEnd = calls.length;
    const own = inPlace(call);
    if (own?.must !== true || lastRead.get(own.input) === i) {
      calls.push(call);
      continue;
    }
    const { input } = own;
    const copy: Value = { ...input, id: -++copies };
    calls.push({ verb: "copy", inputs: [input], outputs: [copy], hint: call.hint });
    calls.push({ ...(call as Call), inputs: call.inputs.map((value) => (value === input ? copy : value)) });
  }
  return { calls, end: newEnd ?? calls.length };
}

/**
 * Index of the last call that reads a value. What the end reads of the layers' it reads for every slice, until the
 * last.
 */
function lastReads(calls: readonly ListedCall[], end: number, { outputs }: Program): Map<Value, number> {
  const last = new Map<Value, number>();
  const made = new Map<Value, number>();
  for (const [i, call] of calls.entries()) {
    for (const input of call.inputs) last.set(input, i >= end && (made.get(input) ?? 0) < end ? calls.length : i);
    for (const output of call.outputs) made.set(output, i);
  }
  for (const output of Object.values(outputs)) last.set(output, calls.length);
  return last;
}

interface Member {
  readonly value: Value;
  readonly life: Life;
  readonly floats: number;
}
interface Lane {
  readonly floats: number;
  readonly members: Member[];
  offset: number;
}

const overlap = (a: Life, b: Life): boolean => a.from <= b.to && b.from <= a.to;

/**
 * Values of one size that follow each other share a lane; a lane, the largest first, lies at the lowest place where no
 * lane is that lives at the same time.
 */
function layLanes(members: readonly Member[]): Lane[] {
  const lanes: Lane[] = [];
  const bySize = new Map<number, Lane[]>();
  for (const member of [...members].sort((a, b) => a.life.from - b.life.from)) {
    const same = bySize.get(member.floats) ?? [];
    bySize.set(member.floats, same);
    let lane = same.find((free) => free.members.at(-1)!.life.to < member.life.from);
    if (lane === undefined) {
      lane = { floats: member.floats, members: [], offset: 0 };
      same.push(lane);
      lanes.push(lane);
    }
    lane.members.push(member);
  }
  lanes.sort((a, b) => b.floats - a.floats);
  const placed: Lane[] = [];
  for (const lane of lanes) {
    const others = placed.filter((other) => meet(lane, other)).sort((a, b) => a.offset - b.offset);
    for (const { offset, floats } of others)
      if (offset < lane.offset + lane.floats && lane.offset < offset + floats) lane.offset = offset + floats;
    placed.push(lane);
  }
  return lanes;
}

/** Whether two lanes have members that live at the same time; both are in order. */
function meet(a: Lane, b: Lane): boolean {
  for (let i = 0, j = 0; i < a.members.length && j < b.members.length; ) {
    const [x, y] = [a.members[i]!.life, b.members[j]!.life];
    if (overlap(x, y)) return true;
    if (x.to < y.to) i++;
    else j++;
  }
  return false;
}

/** Choices made before that a call reads. */
function choicesOf(call: ListedCall): readonly (Routes | Selection)[] {
  if (call.verb === "experts" || call.verb === "expect") return [call.routes];
  if (call.verb === "attention") return call.sources.flatMap(({ selection }) => selection ?? []);
  return call.verb === "tap" && call.routes !== null ? [call.routes] : [];
}

/** Routings that do not live at the same time are one, as values are. */
function placeRoutings(calls: readonly ListedCall[]): Map<Routes | Selection, number> {
  const lives = new Map<Routes | Selection, Life>();
  for (const [i, call] of calls.entries()) {
    if (call.verb === "route") lives.set(call.routes, { from: i, to: i });
    if (call.verb === "select") lives.set(call.selection, { from: i, to: i });
    for (const choice of choicesOf(call)) {
      const life = lives.get(choice);
      if (life === undefined) throw new HundredweightError("INTERNAL", "experts before their router");
      life.to = i;
    }
  }
  const taken: { readonly topK: number; to: number }[] = [];
  const places = new Map<Routes | Selection, number>();
  for (const [routes, life] of lives) {
    let place = taken.findIndex(({ topK, to }) => topK === routes.topK && to < life.from);
    if (place < 0) place = taken.push({ topK: routes.topK, to: 0 }) - 1;
    taken[place]!.to = life.to;
    places.set(routes, place);
  }
  return places;
}
