/**
 * The automaton of a grammar, byte by byte, made as it is met: an Earley parser whose sets are interned. What a parser
 * knows between two bytes is a *configuration*: lexemes under way, each with the set of places where parsing goes on
 * behind it. Places are frames on stacks; two that are equal are the same, so a configuration met again (every
 * character of a string) is one that is known, and where each byte leads from it is looked up.
 * @source Earley, An efficient context-free parsing algorithm; Scott and Johnstone, GLL parsing
 */
import { HundredweightError } from "../../../errors.js";
import { Account } from "../regex/terms.js";
import { Containers } from "./containers.js";
import { attach, type Frame, type Local, localStack, plain, type StackRef } from "./frames.js";
import type { Lexemes } from "./lexemes.js";
import type { Program } from "./program.js";

export interface Configuration {
  readonly number: number;
  /** States of the lexemes under way, ascending, and the stack of each. */
  readonly states: Int32Array;
  readonly stacks: Int32Array;
  /** Whether the text may end here. */
  readonly accepts: boolean;
  /** Tokens that may come by their number. */
  readonly tokens: readonly { readonly ids: ReadonlySet<number>; readonly except: boolean; readonly stack: number }[];
  /** Where each byte leads; -1 = nowhere, -2 = not looked at yet. */
  row: Int32Array | undefined;
}

const mostConfigurations = 200_000;
/** Beyond this a constraint is compiled anew for the next answer. */
const fullConfigurations = 20_000;
const rowsAtOnce = 32;

export class Automaton {
  readonly start: Configuration;
  readonly lexemes: Lexemes;
  private readonly account: Account;
  private readonly program: Program;
  private readonly containers: Containers;
  private readonly configurations: Configuration[] = [];
  private readonly configurationOf = new Map<string, number>();
  private readonly frames: { readonly point: number; readonly payload: number; readonly stack: number }[] = [];
  private readonly frameOf = new Map<string, number>();
  private readonly stacks: Int32Array[] = [];
  private readonly stackOf = new Map<string, number>();
  private readonly behindOf = new Map<string, number>();

  private rows = new Int32Array(0);
  private rowsLeft = 0;

  // What one step gathers.
  private locals = new Map<number, Local>();
  private pending = new Map<number, Local>();
  private pendingTokens: { ids: ReadonlySet<number>; except: boolean; local: Local }[] = [];
  private seen = new Set<number>();
  private seenPayloads = new Set<string>();
  private readonly work: { point: number; stack: StackRef }[] = [];
  private accepted = false;

  /** @param account pays for what is made of terms and lexemes; default: a new one */
  constructor(program: Program, lexemes: Lexemes, account: Account = new Account()) {
    this.account = account;
    this.program = program;
    this.lexemes = lexemes;
    this.containers = new Containers(lexemes, {
      lexeme: (state, frame) => this.expect(state, frame),
      call: (routine, frame) => this.call(routine, frame),
    });
    // The bottom: the text ends where the root returns to.
    this.frames.push({ point: -1, payload: plain, stack: -1 });
    const bottom = this.internStack([0]);
    this.begin();
    const { routines, root } = program;
    if (routines[root]!.nullable) this.accepted = true;
    this.call(root, { point: 0, payload: plain, stack: bottom });
    this.start = this.configurations[this.finish()]!;
  }

  get size(): number {
    return this.configurations.length;
  }

  /** Whether so much was met that starting anew is better than going on; what runs may still finish. */
  get isFull(): boolean {
    return this.configurations.length > fullConfigurations || this.account.states > fullConfigurations;
  }

  /** Memory held, estimated: rows of transitions above all. What its lexemes hold counts with them. */
  get bytes(): number {
    return 1_500 * this.configurations.length;
  }

  /** Charges this one for the terms and lexemes that are made from here on. */
  pay(): void {
    this.lexemes.terms.account = this.account;
  }

  configuration(number: number): Configuration {
    return this.configurations[number]!;
  }

  /** @returns the number of the configuration behind a byte; -1 when it cannot follow */
  step(from: Configuration, byte: number): number {
    from.row ??= this.row();
    const known = from.row[byte]!;
    if (known !== -2) return known;
    const to = this.makeStep(from, byte);
    from.row[byte] = to;
    return to;
  }

  /** A row that knows nothing yet. Many share a buffer: each one of its own would cost more than it holds. */
  private row(): Int32Array {
    if (this.rowsLeft === 0) {
      this.rows = new Int32Array(256 * rowsAtOnce).fill(-2);
      this.rowsLeft = rowsAtOnce;
    }
    const at = 256 * --this.rowsLeft;
    return this.rows.subarray(at, at + 256);
  }

  /**
   * The configuration behind a token that is matched by its number, and by its text as well when `behindText` is one;
   * -1 = none.
   */
  stepToken(from: Configuration, id: number, behindText: number): number {
    const matching = from.tokens.filter(({ ids, except }) => ids.has(id) !== except);
    if (matching.length === 0) return behindText;
    this.begin();
    for (const { stack } of matching) this.resumeAll(stack, []);
    if (behindText >= 0) this.include(this.configurations[behindText]!);
    return this.finish();
  }

  private include(other: Configuration): void {
    other.states.forEach((state, i) => {
      this.pendingAt(state).through.push(other.stacks[i]!);
    });
    for (const { ids, except, stack } of other.tokens) {
      const local = localStack();
      local.through.push(stack);
      this.pendingTokens.push({ ids, except, local });
    }
    if (other.accepts) this.accepted = true;
  }

  /**
   * The configuration behind a lexeme that has ended with these marks, by the stack it stood on; -1 = none. What other
   * lexemes allow, or this one where it goes on, is no part of it.
   */
  behind(stack: number, marks: readonly number[]): number {
    const key = marks.length === 0 ? `${stack}` : `${stack}:${marks.join()}`;
    let known = this.behindOf.get(key);
    if (known === undefined) {
      this.begin();
      this.resumeAll(stack, marks);
      known = this.finish();
      this.behindOf.set(key, known);
    }
    return known;
  }

  private makeStep({ states, stacks }: Configuration, byte: number): number {
    const { lexemes } = this;
    this.pay();
    // Most bytes lead nowhere: nothing is gathered for them.
    let leads = false;
    for (let i = 0; i < states.length; i++) {
      const to = lexemes.step(states[i]!, byte);
      if (to < 0) continue;
      if (!leads) this.begin();
      leads = true;
      if (lexemes.goesOn(to)) this.pendingAt(to).through.push(stacks[i]!);
      if (lexemes.accepts(to)) this.resumeAll(stacks[i]!, lexemes.marks(to));
    }
    return leads ? this.finish() : -1;
  }

  private begin(): void {
    // To clear a map takes a new one inside, also when it is empty.
    if (this.locals.size > 0) this.locals.clear();
    if (this.pending.size > 0) this.pending.clear();
    if (this.pendingTokens.length > 0) this.pendingTokens = [];
    if (this.seen.size > 0) this.seen.clear();
    if (this.seenPayloads.size > 0) this.seenPayloads.clear();
    this.work.length = 0;
    this.accepted = false;
  }

  private resumeAll(stack: number, marks: readonly number[]): void {
    for (const frame of this.stacks[stack]!) this.resume(frame, marks);
  }

  /** Goes on behind what a frame waited for. */
  private resume(number: number, marks: readonly number[]): void {
    if (number === 0) {
      this.accepted = true;
      return;
    }
    const { point, payload, stack } = this.frames[number]!;
    if (payload === plain) {
      this.add(point, stack);
      return;
    }
    const key = `${point},${payload},${stack},${marks.join()}`;
    if (this.seenPayloads.has(key)) return;
    this.seenPayloads.add(key);
    const at = this.program.points[point]!;
    if (at.op === "loop") this.turn(point, payload, stack);
    else if (at.op === "object") {
      if (this.containers.inObject(at.shape, point, payload, stack, marks)) this.add(at.next, stack);
    } else if (at.op === "array") {
      if (this.containers.inArray(at.shape, point, payload, stack)) this.add(at.next, stack);
    } else if (at.op === "entries") this.entries(point, payload, stack);
  }

  private add(point: number, stack: StackRef): void {
    const points = this.program.points.length;
    const at = typeof stack === "number" ? stack : -1 - stack.number;
    const key = at * points + point;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    this.work.push({ point, stack });
  }

  private run(): void {
    for (let todo = this.work.pop(); todo !== undefined; todo = this.work.pop()) this.visit(todo.point, todo.stack);
  }

  private visit(point: number, stack: StackRef): void {
    const at = this.program.points[point]!;
    switch (at.op) {
      case "return":
        // A routine that ends where it began was stepped over when it was called.
        if (typeof stack === "number") this.resumeAll(stack, []);
        break;
      case "lexeme":
        if (at.state >= 0) this.expect(at.state, { point: at.next, payload: plain, stack });
        if (at.nullable) this.add(at.next, stack);
        break;
      case "split":
        for (const to of at.to) this.add(to, stack);
        break;
      case "call":
        if (this.program.routines[at.routine]!.nullable) this.add(at.next, stack);
        this.call(at.routine, { point: at.next, payload: plain, stack });
        break;
      case "loop":
        this.turn(point, 0, stack);
        break;
      case "object":
        this.containers.openObject(at.shape, point, stack);
        break;
      case "array":
        this.containers.openArray(at.shape, point, stack);
        break;
      case "entries":
        this.entries(point, this.containers.noEntries(at.shape), stack);
        break;
      case "token": {
        const local = localStack();
        attach(local, { point: at.next, payload: plain, stack });
        this.pendingTokens.push({ ids: at.ids, except: at.except, local });
        break;
      }
    }
  }

  /** A loop after `count` turns. */
  private turn(point: number, count: number, stack: StackRef): void {
    const at = this.program.points[point]! as Extract<Program["points"][number], { op: "loop" }>;
    if (count >= at.least) this.add(at.next, stack);
    if (count >= at.most) return;
    // Without an upper bound turns beyond the least are all the same.
    const next = at.most === Number.POSITIVE_INFINITY ? Math.min(count + 1, at.least) : count + 1;
    this.call(at.routine, { point, payload: next, stack });
  }

  /** Behind some entries, or a separator. */
  private entries(point: number, payload: number, stack: StackRef): void {
    const at = this.program.points[point]! as Extract<Program["points"][number], { op: "entries" }>;
    const { separator } = at.shape;
    if (this.containers.inEntries(at.shape, point, payload, stack)) this.add(at.next, stack);
    // A separator that may be empty is stepped over here, as everywhere.
    const skips = separator !== undefined && this.program.routines[separator]!.nullable;
    const behind = skips ? this.containers.afterSeparator(at.shape, payload) : undefined;
    if (behind !== undefined) this.containers.inEntries(at.shape, point, behind, stack);
  }

  private call(routine: number, frame: Frame): void {
    let local = this.locals.get(routine);
    if (local === undefined) {
      local = localStack(routine);
      this.locals.set(routine, local);
      this.add(this.program.routines[routine]!.start, local);
    }
    attach(local, frame);
  }

  private expect(state: number, frame: Frame): void {
    if (state >= 0) attach(this.pendingAt(state), frame);
  }

  private pendingAt(state: number): Local {
    let local = this.pending.get(state);
    if (local === undefined) {
      local = localStack();
      this.pending.set(state, local);
    }
    return local;
  }

  /** Follows everything that needs no byte, and interns what is expected then.  @returns -1 when that is nothing */
  private finish(): number {
    this.run();
    const resolved = new Map<Local, number>();
    const states = [...this.pending.keys()].sort((a, b) => a - b);
    const stacks = states.map((state) => this.resolve(this.pending.get(state)!, resolved));
    const tokens = this.pendingTokens.map(({ ids, except, local }) => ({
      ids,
      except,
      stack: this.resolve(local, resolved),
    }));
    if (states.length === 0 && tokens.length === 0 && !this.accepted) return -1;
    const tokenKey = tokens
      .map(({ ids, except, stack }) => `${except ? "!" : ""}${[...ids].join()}@${stack}`)
      .join(";");
    const key = `${this.accepted ? 1 : 0}:${states.map((state, i) => `${state}.${stacks[i]}`).join()}:${tokenKey}`;
    const known = this.configurationOf.get(key);
    if (known !== undefined) return known;
    const number = this.configurations.length;
    if (number >= mostConfigurations) {
      throw new HundredweightError("OPTION_INVALID", `constraint: needs more than ${mostConfigurations} states`);
    }
    this.configurations.push({
      number,
      states: Int32Array.from(states),
      stacks: Int32Array.from(stacks),
      accepts: this.accepted,
      tokens,
      row: undefined,
    });
    this.configurationOf.set(key, number);
    return number;
  }

  private resolve(stack: StackRef, resolved: Map<Local, number>): number {
    if (typeof stack === "number") return stack;
    const known = resolved.get(stack);
    if (known !== undefined) return known;
    // Left recursion is refused when a program is made, so no stack can hold itself.
    if (stack.busy) throw new HundredweightError("INTERNAL", "constraint: a stack holds itself");
    stack.busy = true;
    const frames = new Set<number>();
    for (const frame of stack.frames) {
      frames.add(this.internFrame(frame.point, frame.payload, this.resolve(frame.stack, resolved)));
    }
    for (const other of stack.through)
      for (const frame of this.stacks[this.resolve(other, resolved)]!) frames.add(frame);
    stack.busy = false;
    const number = this.internStack([...frames]);
    resolved.set(stack, number);
    return number;
  }

  private internFrame(point: number, payload: number, stack: number): number {
    const key = `${point},${payload},${stack}`;
    const known = this.frameOf.get(key);
    if (known !== undefined) return known;
    this.frames.push({ point, payload, stack });
    this.frameOf.set(key, this.frames.length - 1);
    return this.frames.length - 1;
  }

  private internStack(frames: number[]): number {
    frames.sort((a, b) => a - b);
    const key = frames.join();
    const known = this.stackOf.get(key);
    if (known !== undefined) return known;
    this.stacks.push(Int32Array.from(frames));
    this.stackOf.set(key, this.stacks.length - 1);
    return this.stacks.length - 1;
  }
}
