/**
 * The flow that writes down: it runs a model's functions once and leaves its tensors in the order of their use, its
 * states and the list of its calls. Nothing is bound and no file is needed.
 */
import type { Branch, ModelSpec, ProgramSpec } from "./flow/architecture.js";
import type { Call, ExpertBody, Outputs, Program } from "./flow/calls.js";
import type {
  ExpertsOptions,
  Flow,
  MatrixOptions,
  Part,
  RouteOptions,
  Routes,
  RowsBy,
  Shared,
  Value,
  VectorOptions,
  VectorWeight,
  Weight,
} from "./flow/flow.js";
import type { Role, TensorDeclaration } from "./flow/tensors.js";
import { ExpertRecorder } from "./record-experts.js";
import { StateRecorder } from "./record-states.js";
import { type TensorSource, TensorTable } from "./record-tensors.js";
import { fault, refuseFactors } from "./record-values.js";

export interface Recording {
  readonly program: Program;
  /** In the order of use, each once. */
  readonly tensors: readonly TensorDeclaration[];
}

/**
 * Runs the functions of a model, or of another program it has.  @throws INTERNAL for a model that is not well formed
 */
export function record(spec: ModelSpec, source: TensorSource, name = "trunk"): Recording {
  const trunk = { ...spec, layers: Array.from({ length: spec.config.layers }, (_, i) => i) };
  const program = name === "trunk" ? trunk : spec.programs[name];
  if (program === undefined) fault(`no program '${name}'`);
  const tensors = new TensorTable(source);
  const neighbours = spec.ggufPairs === "interleaved" || (source.format === "gguf" && spec.ggufPairs === "neighbours");
  const recorder = new Recorder(tensors, neighbours);
  return { program: recorder.run(program), tensors: tensors.list() };
}

/** A place in the list where hints of the next layer may be put. */
interface Place {
  readonly stream: Value;
  readonly hints: Call[];
}

/** Neighbouring branches of one site, together. */
function bySite(branches: readonly Branch[]): [site: string, branches: Branch[]][] {
  const groups: [string, Branch[]][] = [];
  for (const branch of branches) {
    const last = groups.at(-1);
    if (last?.[0] === branch.site) last[1].push(branch);
    else groups.push([branch.site, [branch]]);
  }
  return groups;
}

class Recorder extends StateRecorder implements Flow {
  readonly #tensors: TensorTable;
  /** Calls, and places that become calls. */
  readonly #items: (Call | Place)[] = [];
  readonly #inputs = new Map<string, Value>();
  readonly #shared = new Map<string, Shared>();
  /** Where calls go: the list, or the hints of a place. */
  #hints: Call[] | undefined;
  /** Site -> place, of the layer before and of this one. */
  #before = new Map<string, Place>();
  #places = new Map<string, Place>();
  #branch: Branch | undefined;
  #foreseen: { readonly routes: Routes; readonly hints: Call[] } | undefined;

  constructor(tensors: TensorTable, interleaved: boolean) {
    super(interleaved);
    this.#tensors = tensors;
  }

  run(spec: ProgramSpec): Program {
    const starts: number[] = [];
    const streams: (readonly Value[])[] = [];
    const residual = spec.begin(this);
    for (const i of spec.layers) {
      starts.push(this.#items.length);
      streams.push(residual.streams);
      this.#enter(i);
      this.#before = this.#places;
      this.#places = new Map();
      for (const [site, branches] of bySite(spec.layer(i))) {
        const x = residual.read(this, site);
        this.#place(site, x);
        for (const y of branches.map((branch) => this.#run(branch, x))) residual.write(this, site, y);
      }
    }
    starts.push(this.#items.length);
    streams.push(residual.streams);
    this.#enter(-1);
    return this.#finish(starts, streams, spec.end(this, residual));
  }

  #run(branch: Branch, x: Value): Value {
    this.#branch = branch;
    const y = branch.part(this, branch.before(this, x));
    this.#branch = this.#foreseen = undefined;
    return branch.after?.(this, y) ?? y;
  }

  #enter(layer: number): void {
    this.layer = layer;
    this.#tensors.layer = layer;
  }

  #place(site: string, stream: Value): void {
    const place = { stream, hints: [] };
    // The first layer's hints have no layer before them: they stand where the stream begins.
    if (this.#before.size === 0) this.#before.set("", place);
    this.#places.set(site, place);
    this.#items.push(place);
  }

  #finish(starts: readonly number[], streams: Program["streams"], outputs: Outputs): Program {
    const calls: Call[] = [];
    const layers = starts.slice();
    for (const [i, item] of this.#items.entries()) {
      for (const [l, start] of starts.entries()) if (start === i) layers[l] = calls.length;
      if ("verb" in item) calls.push(item);
      else calls.push(...item.hints);
    }
    const inputs = Object.fromEntries(this.#inputs);
    return { calls, layers, streams, inputs, outputs, states: this.states };
  }

  protected override emit(call: Call): void {
    (this.#hints ?? this.#items).push({ ...call, hint: this.#hints !== undefined });
  }

  // --- weights

  matrix(name: string, cols: number, rows: number, role: Role, options: MatrixOptions = {}): Weight {
    return this.#tensors.matrix(name, cols, rows, 1, role, options);
  }
  vector(
    name: string,
    length: number,
    role: Role,
    options: VectorOptions & { readonly optional: true },
  ): VectorWeight | null;
  vector(name: string, length: number, role: Role, options?: VectorOptions): VectorWeight;
  vector(name: string, length: number, role: Role, options: VectorOptions = {}): VectorWeight | null {
    const { suffix = "weight", shape = [length] } = options;
    if (shape.reduce((product, size) => product * size, 1) !== length) fault(`'${name}' of ${length} values`);
    return this.#tensors.vector(suffix === "" ? name : `${name}.${suffix}`, shape, role, options);
  }
  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  // --- rows

  lookup(table: Weight, scale = 1, by: RowsBy = "ids"): Value {
    refuseFactors(table);
    if (table.transposed) fault(`'${table.tensor.name}' lies the other way round`);
    return this.call({ verb: "lookup", table, scale, by }, [], [table.cols])[0]!;
  }
  input(name: string, cols: number): Value {
    const known = this.#inputs.get(name) ?? this.value(cols, "all");
    this.#inputs.set(name, known);
    return known;
  }
  pick(x: Value): Value {
    return this.call({ verb: "pick" }, [x], [x.cols], "wanted")[0]!;
  }

  // --- states

  share<T extends Shared>(name: string, what: T): T {
    this.#shared.set(name, what);
    return what;
  }
  shared(name: string): Shared {
    return this.#shared.get(name) ?? fault(`nothing is shared as '${name}'`);
  }

  // --- experts

  route(scores: Value, { selectionBias = null, factors = null, table = null, ...spec }: RouteOptions): Routes {
    const routes: Routes = { id: ++this.ids, experts: scores.cols, topK: spec.topK };
    const router = this.products.get(scores) ?? fault("a route whose scores are no product");
    if (table !== null && table.length % spec.topK !== 0) fault(`a table of ${table.length} experts`);
    this.call({ verb: "route", routes, spec, selectionBias, factors, table, router }, [scores], []);
    return routes;
  }
  experts(routes: Routes, x: Value, inner: Part, { weightsInput = false }: ExpertsOptions = {}): Value {
    const body: ExpertBody = new ExpertRecorder(this.#tensors, routes.experts, x.cols).run(inner);
    if (this.#foreseen !== undefined) {
      this.#hints = this.#foreseen.hints;
      this.call({ verb: "expect", routes: this.#foreseen.routes, first: body.gate ?? body.up }, [], []);
      this.#hints = this.#foreseen = undefined;
    }
    return this.call({ verb: "experts", routes, body, weightsInput }, [x], [body.down.rows])[0]!;
  }
  foresee(route: (f: Flow, x: Value) => Routes): void {
    const branch = this.#branch;
    const place = this.#before.get(branch?.site ?? "") ?? this.#before.get("");
    if (branch === undefined || place === undefined || this.#hints !== undefined) return;
    // The stream began with a site of another width: nothing there is like what the router reads.
    if (place.stream.cols !== this.#places.get(branch.site)?.stream.cols) return;
    this.#hints = place.hints;
    this.#foreseen = { routes: route(this, branch.before(this, place.stream)), hints: place.hints };
    this.#hints = undefined;
  }
}
