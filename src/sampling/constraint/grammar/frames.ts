/**
 * Where parsing goes on behind what is under way: frames on stacks, gathered at one byte and interned by the automaton
 * at its end.
 */

/** Frames of a stack that is still being gathered; interned by the numbers of the frames. */
export interface Local {
  readonly frames: Frame[];
  /** Stacks whose frames are frames of this one too: calls at the end of a routine. */
  readonly through: StackRef[];
  /** The routine that returns to it; -1 = none. */
  readonly number: number;
  busy: boolean;
}

/** A stack that is known by number, or one whose frames are still being gathered. */
export type StackRef = number | Local;

export interface Frame {
  readonly point: number;
  /** `plain`: parsing goes on at the point; else what a loop, an object or an array kept in mind. */
  readonly payload: number;
  readonly stack: StackRef;
}

export const plain = -1;

export function localStack(number = -1): Local {
  return { frames: [], through: [], number, busy: false };
}

/** A call at the end of a routine returns to where the routine returns to. */
export function attach(local: Local, frame: Frame): void {
  if (frame.point === 0 && frame.payload === plain) {
    if (!local.through.includes(frame.stack)) local.through.push(frame.stack);
  } else local.frames.push(frame);
}
