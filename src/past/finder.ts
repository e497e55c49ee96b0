/** Finds what the files of a store have of a prompt's beginning: the furthest position, and the files it takes. */
import { pagePositions } from "../ops/ops.js";
import type { PastChain } from "./chain.js";
import type { PastFolder } from "./folder.js";
import type { PastMemory } from "./memory.js";
import { endOf, pageName, pagesFrom, stateName, toldTokens } from "./names.js";
import { shortHeader } from "./record.js";

/** A past that can be read back. */
export interface FoundPast {
  /** Positions. */
  readonly length: number;
  /** Its state, then pages by position. */
  readonly names: readonly string[];
}

/** Pages behind the same past that are looked into: of a system prompt there are many. */
const mostLookedInto = 16;
/** Tokens of so many pages are remembered. */
const mostRemembered = 1024;

export class PastFinder {
  private readonly folder: PastFolder;
  private readonly memory: PastMemory;
  private readonly told = new Map<string, Int32Array | undefined>();

  constructor(folder: PastFolder, memory: PastMemory) {
    this.folder = folder;
    this.memory = memory;
  }

  /** The furthest position up to `limit` from which something that begins like this could go on. */
  find(chain: PastChain, limit: number): FoundPast | undefined {
    return this.memory.stateful ? this.atState(chain, limit) : this.byPages(chain, limit);
  }

  /** Whole pages, then as much of one more as is the same. */
  private byPages(chain: PastChain, limit: number): FoundPast | undefined {
    const whole = this.wholePages(chain, limit);
    const names = this.pagesUpTo(chain, whole);
    const end = Math.min(limit, whole + pagePositions);
    let best = { length: whole, names };
    for (const name of this.folder.pagesBehind(pagesFrom(chain, 0, whole)).slice(0, mostLookedInto)) {
      const length = whole + common(this.tokensIn(name), chain.tokens.subarray(whole, end));
      if (length <= best.length) continue;
      const others = this.memory.kinds.map((_, kind) => name.replace(/-0-/, `-${kind}-`));
      if (others.every((other) => this.folder.has(other))) best = { length, names: [...names, ...others] };
    }
    return best.length === 0 ? undefined : best;
  }

  /** Where the pages of all kinds that forget nothing reach, in whole pages. */
  private wholePages(chain: PastChain, limit: number): number {
    let whole = limit;
    for (const [kind, { window, positions }] of this.memory.kinds.entries()) {
      if (window !== 0 || positions === undefined) continue;
      let reached = 0;
      while (reached + positions <= whole && this.hasPage(chain, kind, reached, positions)) reached += positions;
      // The rows behind a page of several positions may be in a state.
      whole = Math.min(whole, this.memory.stateful ? reached + positions - 1 : reached);
    }
    return whole;
  }

  private hasPage(chain: PastChain, kind: number, from: number, positions: number): boolean {
    return this.folder.has(pageName(chain, kind, from, from + positions));
  }

  private atState(chain: PastChain, limit: number): FoundPast | undefined {
    for (const length of this.folder.statesUpTo(this.wholePages(chain, limit))) {
      const state = stateName(chain, length);
      if (!this.folder.has(state)) continue;
      const names = [state, ...this.pagesUpTo(chain, length)];
      if (names.every((name) => this.folder.has(name))) return { length, names };
    }
    return undefined;
  }

  /** Names of the whole pages of a past of so many positions. */
  private pagesUpTo(chain: PastChain, length: number): string[] {
    const names: string[] = [];
    for (const [kind, { positions, window }] of this.memory.kinds.entries()) {
      if (positions === undefined || window > 0) continue;
      for (let end = positions; end <= length; end += positions)
        names.push(pageName(chain, kind, end - positions, end));
    }
    return names;
  }

  private tokensIn(name: string): Int32Array {
    let tokens = this.told.get(name);
    if (tokens === undefined) {
      const told = toldTokens(shortHeader(this.folder.path(name))?.tokens);
      const fits = told !== undefined && told.length === (endOf(name) % pagePositions || pagePositions);
      tokens = fits ? told : new Int32Array(0);
      if (this.told.size >= mostRemembered) this.told.clear();
      this.told.set(name, tokens);
    }
    return tokens;
  }
}

function common(a: Int32Array, b: Int32Array): number {
  const most = Math.min(a.length, b.length);
  let same = 0;
  while (same < most && a[same] === b[same]) same++;
  return same;
}
