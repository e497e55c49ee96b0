/** The residual stream as an object of the model: what a branch reads at a site, and where its result goes. */
import type { Flow, Value } from "./flow.js";

export interface Residual {
  /** The stream, or the streams, as they are now. A stage is begun by setting them. */
  streams: readonly Value[];
  read(f: Flow, site: string): Value;
  write(f: Flow, site: string, y: Value): void;
}

/** x += y */
export function plain(x: Value): Residual {
  return {
    streams: [x],
    read() {
      return this.streams[0]!;
    },
    write(f, _site, y) {
      this.streams = [f.add(this.streams[0]!, y)];
    },
  };
}
