/** The residual stream as an object of the model: what a branch reads at a site, and where its result goes. */
import type { Flow, HyperOptions, Value } from "./flow.js";

export interface Residual {
  /** The stream, or the streams, as they are now. A stage is begun by setting them. */
  streams: readonly Value[];
  read(f: Flow, site: string): Value;
  write(f: Flow, site: string, y: Value): void;
}

/** x += factor * y, for branches whose results are damped. */
export function scaled(x: Value, factor: number): Residual {
  return {
    streams: [x],
    read() {
      return this.streams[0]!;
    },
    write(f, _site, y) {
      this.streams = [f.add(this.streams[0]!, factor === 1 ? y : f.scale(y, factor))];
    },
  };
}

/** x += y */
export const plain = (x: Value): Residual => scaled(x, 1);

interface Streams {
  readonly dim: number;
  readonly streams: number;
  readonly eps: number;
}

const meanOf = (f: Flow, parts: readonly Value[]): Value =>
  f.scale(
    parts.slice(1).reduce((sum, part) => f.add(sum, part), parts[0]!),
    1 / parts.length,
  );

const parted = (f: Flow, x: Value, { dim, streams }: Streams): Value[] =>
  f.split(x, ...Array.from({ length: streams }, () => dim));

const repeated = (f: Flow, x: Value, { streams }: Streams): Value =>
  f.join(...Array.from({ length: streams }, () => x));

/** Tensors of a site carry its name: `hc_mixer_fn`. */
export interface HyperResidual extends Streams {
  readonly iterations: HyperOptions["iterations"];
  /** Added to the weights before they are made even, and to what is read; default that of the norms. */
  readonly mixEps?: number;
  /** Says what the end reads: the streams' mean, or their sum by weights that are computed as at a site. */
  readonly end?: "mean" | "weighted";
}

/** Weights between 0 and 1 by which streams are read, from all of them: those of `output_hc_fn`. */
function collapsed(f: Flow, all: Value, { dim, streams: h, eps, mixEps = eps }: HyperResidual): Value {
  const name = "output_hc";
  const raw = f.linear(f.norm(all, null, eps), f.matrix(`${name}_fn`, h * dim, h, "router"))[0]!;
  const scaled = f.multiplyVector(raw, f.vector(`${name}_scale`, 1, "router", { fill: [1, 0.2] }));
  const moved = f.addVector(scaled, f.vector(`${name}_base`, h, "router", { fill: [0, 0.5] }));
  return f.blend([all], f.shift(f.act(moved, "sigmoid"), mixEps), 1);
}

/**
 * Several streams side by side; what a branch reads, and how the streams take up its result and each other, is computed
 * from all of them at each site. @source DeepSeek-AI 2026, manifold-constrained hyper-connections
 */
export function hyper(f: Flow, x: Value, o: HyperResidual): Residual {
  const { dim, streams: h, eps, iterations, mixEps = eps } = o;
  const writes = new Map<string, Value>();
  return {
    streams: [repeated(f, x, o)],
    read(f, site) {
      const all = this.streams[0]!;
      if (site === "end") return o.end === "weighted" ? collapsed(f, all, o) : meanOf(f, parted(f, all, o));
      const columns = (2 + h) * h;
      const product = f.matrix(`hc_${site}_fn`, h * dim, columns, "router");
      const raw = f.linear(f.norm(all, null, eps), product)[0]!;
      const scale = f.vector(`hc_${site}_scale`, 3, "router", { fill: [1, 0.2] });
      const base = f.vector(`hc_${site}_base`, columns, "router", { fill: [0, 0.5] });
      const [read, write] = f.hyperWeights(raw, scale, base, { streams: h, iterations, eps: mixEps });
      writes.set(site, write);
      return f.blend([all], read, 1);
    },
    write(f, site, y) {
      this.streams = [f.blend([y, this.streams[0]!], writes.get(site)!, h)];
    },
  };
}

/** `rank`: width between the products that make the gates. */
export interface GatedResidual extends Streams {
  readonly rank: number;
}

/** At this site a branch reads the streams side by side, and adds to each of them. */
export const wholeSite = "whole";

/**
 * Several streams side by side: a branch reads the mean of their gated norms, and each stream takes up as much of the
 * result as an injection gate says. At the end the tensors are `output_hc_*`.
 * @source Qwen Team 2026, the residual streams of Qwen3.8-Flash-Next
 */
export function gated(f: Flow, x: Value, o: GatedResidual): Residual {
  const { dim, streams: h, eps, rank } = o;
  const injections = new Map<string, Value>();
  return {
    streams: [repeated(f, x, o)],
    read(f, site) {
      if (site === wholeSite) return this.streams[0]!;
      const own = site === "end" ? "output_hc" : `hc_${site}`;
      // Gates of a random model are about a half.
      const weight = f.vector(`${own}_norm`, h * dim, "norm", { fill: [2, 0.4] });
      const normed = f.multiplyVector(f.headNorm(this.streams[0]!, null, eps, dim), weight);
      const low = f.linear(normed, f.matrix(`${own}_down`, h * dim, rank, "attention"))[0]!;
      const gate = f.linear(f.act(f.scale(low, 1 / h), "silu"), f.matrix(`${own}_up`, rank, h * dim, "attention"))[0]!;
      if (site !== "end") {
        const injection = f.linear(normed, f.matrix(`${own}_inject`, h * dim, h, "router"))[0]!;
        injections.set(site, f.scale(f.act(f.scale(injection, 1 / h), "sigmoid"), 2));
      }
      return meanOf(f, parted(f, f.multiply(normed, f.act(gate, "sigmoid")), o));
    },
    write(f, site, y) {
      const taken = site === wholeSite ? y : f.multiply(repeated(f, y, o), injections.get(site)!);
      this.streams = [f.add(this.streams[0]!, taken)];
    },
  };
}

export interface BankResidual {
  readonly dim: number;
  readonly eps: number;
  /** Every so many layers what has come so far is put into the bank, and the stream begins anew. */
  readonly period: number;
}

/**
 * A bank of earlier states beside the stream: a branch reads a mixture of all of them, by scores of their norms. Layers
 * begin at the site `mixer`. @source Kimi Team 2026, attention residuals
 */
export function bank(x: Value, { dim, eps, period }: BankResidual): Residual {
  let layers = 0;
  let fresh = false;
  return {
    streams: [x],
    read(f, site) {
      const parts = [...this.streams.slice(1), this.streams[0]!];
      const weight = f.vector(`${site}_res_score`, dim, "norm", { fill: [0, 0.3] });
      const mixed = f.blend(parts, f.streamScores(parts, weight, eps), 1);
      if (site === "mixer" && layers++ % period === 0) {
        this.streams = [this.streams[0]!, ...parts];
        fresh = true;
      }
      return mixed;
    },
    write(f, _site, y) {
      const [stream, ...kept] = this.streams as readonly [Value, ...Value[]];
      this.streams = [fresh ? y : f.add(stream, y), ...kept];
      fresh = false;
    },
  };
}
