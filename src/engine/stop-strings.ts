/**
 * Finds stop strings in streamed text, across token boundaries. Text that could still become a stop string is held
 * back; the stop string itself and what follows it are never emitted.
 */
export class StopStrings {
  private readonly stops: readonly string[];
  private held = "";
  /** The stop string that was met. */
  found: string | undefined;

  constructor(stops: readonly string[]) {
    this.stops = stops.filter((stop) => stop !== "");
  }

  /** @returns the text that is safe to show; after a match always "" */
  push(text: string): string {
    if (this.found !== undefined) return "";
    this.held += text;
    let cut = -1;
    for (const stop of this.stops) {
      const at = this.held.indexOf(stop);
      // Of several the one that begins first, of those the longest: the text shown is the same either way.
      if (at >= 0 && (cut < 0 || at < cut)) {
        cut = at;
        this.found = stop;
      }
    }
    const safe = cut >= 0 ? cut : this.held.length - this.pending();
    const out = this.held.slice(0, safe);
    this.held = cut >= 0 ? "" : this.held.slice(safe);
    return out;
  }

  /** Returns what was held back, when generation ends without a match. */
  flush(): string {
    const out = this.found === undefined ? this.held : "";
    this.held = "";
    return out;
  }

  /** Length of the longest tail that begins some stop string. */
  private pending(): number {
    let longest = 0;
    for (const stop of this.stops) {
      const most = Math.min(stop.length - 1, this.held.length);
      for (let n = most; n > longest; n--) {
        if (this.held.endsWith(stop.slice(0, n))) {
          longest = n;
          break;
        }
      }
    }
    return longest;
  }
}
