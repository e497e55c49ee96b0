/**
 * Alternating updates: several streams, of which a layer changes one; what the others become is predicted before it
 * and corrected after it, by a few coefficients of the changed one.
 * @source Baykal et al. 2023, "Alternating Updates for Efficient Transformers"
 */
import type { Flow, Part, Value } from "../flow/flow.js";
import type { Residual } from "../flow/residual.js";

export interface AltupOptions {
  readonly dim: number;
  readonly eps: number;
  readonly streams: number;
  /** The part that is added to the streams that no layer changed, from the corrected one. */
  readonly extra: (layer: number) => Part;
}

const slice = (f: Flow, name: string, { dim, streams }: AltupOptions, index: number) =>
  f.matrix(`${name}.${index}`, dim, dim, "ffn", { from: { oneOf: name, count: streams - 1, index } });

const apart = (f: Flow, x: Value, { dim, streams }: AltupOptions): Value[] =>
  f.split(x, ...Array.from({ length: streams }, () => dim));

/**
 * tanh of a product of the norm: a coefficient for each stream. The same matrix is wanted twice in a layer; it goes
 * by a second name then, so that what is streamed is listed as often as it is read.
 */
function coefficients(f: Flow, x: Value, { dim, eps, streams }: AltupOptions, again = false): Value {
  const normed = f.scale(f.norm(x, f.vector("altup_router_norm", dim, "norm"), eps), 1 / dim);
  // The inputs are that small, so a random model's weights are large.
  const options = { gain: dim, ...(again && { from: { split: "altup_router", of: streams, first: 0 } }) };
  const name = again ? "altup_router_again" : "altup_router";
  return f.act(f.linear(normed, f.matrix(name, dim, streams, "router", options))[0]!, "tanh");
}

/** Begins with one stream and products of it that are as long. The first is the one that layers change. */
export function altup(f: Flow, x: Value, o: AltupOptions): Residual {
  const { dim, streams } = o;
  const others = Array.from({ length: streams - 1 }, (_, i) => i);
  const made = f.linear(x, ...others.map((i) => slice(f, "altup_proj", o, i))).map((y) => f.matchSize(y, x));
  let [predicted, active] = [x, x];
  let layer = 0;
  return {
    streams: [f.join(x, ...made)],
    read(f, site) {
      const all = this.streams[0]!;
      if (site === "end") return merged(f, apart(f, all, o), o);
      const mixing = f.linear(
        coefficients(f, apart(f, all, o)[0]!, o),
        f.matrix("altup_predict_coef", streams, streams * streams, "router", { gain: 0.15 }),
      )[0]!;
      predicted = f.add(f.blend([all], mixing, streams), all);
      active = apart(f, predicted, o)[0]!;
      return active;
    },
    write(f, _site, y) {
      const change = f.add(y, f.scale(active, -1));
      const shares = f.linear(
        coefficients(f, y, o, true),
        f.matrix("altup_correct_coef", streams, streams, "router", { gain: 0.15 }),
      )[0]!;
      const repeated = f.join(...Array.from({ length: streams }, () => change));
      // Each stream takes up 1 + its share of the change.
      const corrected = f.add(f.add(f.multiply(repeated, shares), repeated), predicted);
      const [first, ...rest] = apart(f, corrected, o) as [Value, ...Value[]];
      const scaled = f.multiplyVector(first, f.vector("altup_correct_scale", dim, "norm"));
      const extra = o.extra(layer++)(f, scaled);
      this.streams = [f.join(first, ...rest.map((stream) => f.add(stream, extra)))];
    },
  };
}

/** The mean of the first stream and of products of the others that are as long. */
function merged(f: Flow, [first, ...rest]: readonly Value[], o: AltupOptions): Value {
  const products = rest.map((stream, i) =>
    f.matchSize(f.linear(stream, slice(f, "altup_unembd_proj", o, i))[0]!, first!),
  );
  return f.scale(
    products.reduce((sum, product) => f.add(sum, product), first!),
    1 / o.streams,
  );
}
