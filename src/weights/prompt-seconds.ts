/** Seconds that passes of a prompt compute, by their rows and by what those see. Pure: the page uses it. */

/** The computing of passes of a prompt. */
export interface ComputeCosts {
  /** Without attention, ascending; what lies between is in between. */
  readonly passes: readonly { readonly rows: number; readonly seconds: number }[];
  /** Seconds for a row to see a position, of all layers that look back as far; window 0: they see all before. */
  readonly attention: readonly { readonly window: number; readonly seconds: number }[];
}

/** The computing of a pass of one row. */
export interface TokenCompute {
  /** Without what lies before it. */
  readonly seconds: number;
  readonly attention: ComputeCosts["attention"];
}

/** A pass of one row with so many positions before it. */
export function tokenComputeSeconds({ seconds, attention }: TokenCompute, position: number): number {
  return seconds + attentionSeconds({ attention }, 1, position);
}

/** A pass of so many rows, of which the first has so many positions before it. */
export function computeSeconds(costs: ComputeCosts, rows: number, from: number): number {
  return passSeconds(costs.passes, rows) + attentionSeconds(costs, rows, from);
}

export function attentionSeconds({ attention }: Pick<ComputeCosts, "attention">, rows: number, from: number): number {
  return attention.reduce((sum, { window, seconds }) => sum + seconds * seenPositions(rows, from, window), 0);
}

/** Positions that rows see, all together, their own included. */
export function seenPositions(rows: number, from: number, window: number): number {
  const all = (last: number): number => (last * (last + 1)) / 2;
  if (window === 0) return all(from + rows) - all(from);
  const growing = Math.min(rows, Math.max(0, window - from));
  return all(from + growing) - all(from) + (rows - growing) * window;
}

/** Below the first size it takes as long as that, behind the last one it goes on as steeply. */
function passSeconds(passes: ComputeCosts["passes"], rows: number): number {
  const found = passes.findIndex((pass) => pass.rows >= rows);
  const above = found < 0 ? passes.length - 1 : found;
  const [low, high] = [passes[Math.max(0, above - 1)], passes[above]];
  if (low === undefined || high === undefined) return 0;
  if (low === high) return high.seconds * (rows > high.rows ? rows / high.rows : 1);
  return low.seconds + ((rows - low.rows) * (high.seconds - low.seconds)) / (high.rows - low.rows);
}

/** All of it so many times as long. */
export function scaled({ passes, attention }: ComputeCosts, factor: number): ComputeCosts {
  return {
    passes: passes.map(({ rows, seconds }) => ({ rows, seconds: factor * seconds })),
    attention: scaledAttention(attention, factor),
  };
}

export function scaledToken({ seconds, attention }: TokenCompute, factor: number): TokenCompute {
  return { seconds: factor * seconds, attention: scaledAttention(attention, factor) };
}

const scaledAttention = (attention: ComputeCosts["attention"], factor: number): ComputeCosts["attention"] =>
  attention.map(({ window, seconds }) => ({ window, seconds: factor * seconds }));
