/**
 * How stored keys go to other positions: by which rotation of the program each state's keys have theirs. Where a
 * position is in what is stored in any other way, keys cannot move, and the reason is said (decision 0096).
 */
import type { Call, CallOf, Program } from "./flow/calls.js";
import type { PagedState, Value } from "./flow/flow.js";

/** The rotation that the keys of a state went through, and the values of a head before those that it turned. */
export interface TurnedKeys {
  readonly rope: CallOf<"rope">;
  readonly first: number;
}

export interface KeyTurns {
  /** The rotation of each state; null: its keys know no position. */
  readonly turns: ReadonlyMap<PagedState, TurnedKeys | null>;
  /** Why positions cannot be left out; undefined: they can. */
  readonly fault: string | undefined;
}

/** Reads from a program how its keys are turned. */
export function keyTurnsOf(program: Program): KeyTurns {
  const turns = new Map<PagedState, TurnedKeys | null>();
  const fault = faultOf(program);
  if (fault !== undefined) return { turns, fault };
  const finder = new TurnFinder(program);
  for (const call of program.calls) {
    if (call.verb !== "keep") continue;
    const found = finder.of(call);
    if (typeof found === "string") return { turns, fault: found };
    turns.set(call.state, found);
  }
  return { turns, fault: undefined };
}

/** The faults that kinds of states and tables say already. */
function faultOf({ states, calls }: Program): string | undefined {
  if (states.some(({ kind }) => kind === "recurrent"))
    return "its recurrent states are of all tokens before them, of which none can be taken out";
  if (states.some((state) => "every" in state && state.every > 1))
    return "what it keeps of several positions is one row";
  if (states.some(({ kind }) => kind === "rows") || calls.some(({ verb }) => verb === "select"))
    return "it chooses by an indexer which positions it looks at";
  const lookups = calls.filter((call) => call.verb === "lookup");
  if (lookups.some(({ by }) => by === "positions")) return "its positions are learned, and are in all that it keeps";
  if (lookups.some(({ by }) => typeof by === "object")) return "it looks tables up by several tokens before a row";
  if (lookups.filter(({ by }) => by === "ids").length > 1)
    return "it has embeddings for every layer, with which a shift has never been tried";
  return undefined;
}

class TurnFinder {
  private readonly makers = new Map<Value, Call>();
  private readonly known = new Map<Value, boolean>();

  constructor({ calls }: Program) {
    for (const call of calls) for (const value of call.outputs) this.makers.set(value, call);
  }

  /** @returns a reason where the keys cannot move */
  of({ inputs: [k, v], state }: CallOf<"keep">): TurnedKeys | null | string {
    const changed = "its keys or values are changed after their rotation";
    if (v !== undefined && this.hasPosition(v)) return changed;
    if (!this.hasPosition(k!)) return null;
    const maker = this.makers.get(k!)!;
    if (maker.verb === "rope") {
      if (state.kind === "latent" || maker.headDim !== state.headDimK) return changed;
      return this.turned(maker, 0) ?? changed;
    }
    // Of a latent vector a part is turned, behind its values.
    if (maker.verb !== "join" || maker.heads !== 1 || state.heads !== 1) return changed;
    let [at, found]: [number, TurnedKeys | null] = [0, null];
    for (const part of maker.inputs) {
      const rope = this.makers.get(part);
      if (this.hasPosition(part)) {
        const turned = rope?.verb === "rope" && rope.headDim === part.cols ? this.turned(rope, at) : undefined;
        if (turned === undefined || found !== null || (state.kind === "latent" && at < state.headDimV)) return changed;
        found = turned;
      }
      at += part.cols;
    }
    return found;
  }

  private turned(rope: CallOf<"rope">, at: number): TurnedKeys | undefined {
    if (rope.back !== 0 || this.hasPosition(rope.inputs[0]!)) return undefined;
    return { rope, first: at + (rope.rope.first ?? 0) };
  }

  /**
   * Whether its rotation is in a value. What attention gives back knows of positions only what the tokens say: it is
   * evaluated where it is.
   */
  private hasPosition(value: Value): boolean {
    const known = this.known.get(value);
    if (known !== undefined) return known;
    // Values are made before they are used: no circle, but chains as long as the model.
    const stack = [value];
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const call = this.makers.get(top);
      const through = call === undefined || call.verb === "attention" ? [] : call.inputs;
      const open = through.filter((input) => !this.known.has(input));
      if (open.length > 0) {
        stack.push(...open);
        continue;
      }
      const own = call?.verb === "rope" || call?.verb === "temper";
      this.known.set(top, own || through.some((input) => this.known.get(input)));
      stack.pop();
    }
    return this.known.get(value)!;
  }
}
