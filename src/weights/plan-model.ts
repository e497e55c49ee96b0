/**
 * A model as the planner sees it: matrices in the order a pass consumes them, experts by layer, the embedding apart.
 */
import { type Layout, type Planes, type Slices, segmentsOf, slicesOf } from "../formats/index.js";
import { type ModelDescription, type ModelTensor, type Role, withPrograms } from "../models/index.js";

export interface PlanMatrix {
  readonly name: string;
  /** -1 for the head. */
  readonly layer: number;
  readonly role: Role;
  readonly layout: Layout;
  /** Rows of one expert. */
  readonly rows: number;
  readonly cols: number;
  readonly experts: number;
  /** The slices it is cut into where part of it is in memory. */
  readonly slices: Slices;
  /** Slices at which what lies together begins; then their number. */
  readonly segments: readonly number[];
  /** Bytes that may be in memory or not: slices; of stacked experts all there is of them. */
  readonly bytes: number;
  /** Bytes of a trunk's matrix that are in memory whatever the plan: planes that every slice needs. */
  readonly keptBytes: number;
  readonly planes: Planes;
}

/** The routed experts of a layer; an expert is a slice of each matrix. */
export interface ExpertLayer {
  readonly layer: number;
  readonly experts: number;
  /** Matrices of any make: gate, up and down, or fewer. */
  readonly matrices: readonly PlanMatrix[];
  readonly bytesPerExpert: number;
}

export interface PlanModel {
  readonly description: ModelDescription;
  /** Everything a pass reads whole: layers in order, then the head. */
  readonly trunk: readonly PlanMatrix[];
  readonly expertLayers: readonly ExpertLayer[];
  /** Those of them that a pass goes through. */
  readonly passLayers: readonly ExpertLayer[];
  /** Programs beside the trunk. */
  readonly programs: readonly string[];
  /** Matrices that they alone use and read whole: in memory, whatever the plan. */
  readonly beside: readonly PlanMatrix[];
  /** Read row by row on demand; undefined when it is the head too. */
  readonly embedding: PlanMatrix | undefined;
  /** All tables that are read like that. */
  readonly tables: readonly PlanMatrix[];
  readonly trunkBytes: number;
  readonly expertBytes: number;
  readonly topK: number;
}

/** @param programs that are bound beside the trunk: experts of theirs are one layer more each */
export function planModel(description: ModelDescription, programs: readonly string[] = []): PlanModel {
  const own = new Set(description.tensors.map(({ name }) => name));
  const used = withPrograms(description, programs)
    .tensors.filter((tensor) => tensor.kind === "matrix")
    .map(matrixOf);
  const isBeside = (m: PlanMatrix): boolean => !own.has(m.name) && m.role !== "embedding" && m.experts === 1;
  const matrices = used.filter((m) => !isBeside(m));
  const tables = matrices.filter((m) => m.role === "embedding");
  const head = matrices.filter((m) => m.role === "head");
  const routed = matrices.filter((m) => m.experts > 1);
  const layers = matrices.filter((m) => m.role !== "head" && m.role !== "embedding" && m.experts === 1);
  // A tied head is listed first, as the embedding it also is, and consumed last.
  const trunk = [...layers, ...head];
  const byLayer = new Map<number, PlanMatrix[]>();
  for (const matrix of routed) byLayer.set(matrix.layer, [...(byLayer.get(matrix.layer) ?? []), matrix]);
  const expertLayers = [...byLayer].map(([layer, group]): ExpertLayer => {
    const { experts } = group[0]!;
    return { layer, experts, matrices: group, bytesPerExpert: sumBytes(group) / experts };
  });
  return {
    description,
    trunk,
    expertLayers,
    passLayers: expertLayers.filter(({ layer }) => layer < description.config.layers),
    programs,
    beside: used.filter(isBeside),
    embedding: tables[0],
    tables,
    trunkBytes: sumBytes(trunk),
    expertBytes: sumBytes(routed),
    topK: description.config.topK,
  };
}

function matrixOf({ name, layer, role, info }: ModelTensor): PlanMatrix {
  const [cols, rows = 1, experts = 1] = info.shape as readonly [number, number?, number?];
  const { layout, planes } = info;
  const slices = slicesOf(layout, rows, cols);
  const keptBytes = experts === 1 ? slices.wholeBytes : 0;
  const bytes = (slices.count * slices.bytes + slices.wholeBytes) * experts - keptBytes;
  const segments = experts === 1 ? segmentsOf({ layout, rows, cols, planes }) : [0, slices.count];
  return { name, layer, role, layout, rows, cols, experts, slices, segments, bytes, keptBytes, planes };
}

export function sumBytes(matrices: readonly PlanMatrix[]): number {
  return matrices.reduce((sum, m) => sum + m.bytes, 0);
}
