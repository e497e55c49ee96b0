/** The boundary table as C++, and its version: what scripts/write-boundary.mjs writes and a test compares. */
import { createHash } from "node:crypto";
import { dtypes } from "../../src/formats/dtypes.js";
import {
  actKinds,
  codeKinds,
  type Layout,
  offsetKinds,
  packings,
  scaleKinds,
  unitInputs,
  unitKinds,
} from "../../src/formats/layouts.js";
import { planeLayouts } from "../../src/formats/plane-layouts.js";
import {
  activations,
  attentionParts,
  expertPolicyNumbers,
  glus,
  ioEngines,
  kvLayerNumbers,
  kvTypes,
  layoutNumbers,
  layoutPlaneNumbers,
  limits,
  lookups,
  machineCounters,
  memoryRates,
  memoryStates,
  modelCounters,
  poolings,
  productInto,
  reaches,
  readRates,
  residencyCounters,
  scores,
  slotKinds,
  slotLayerNumbers,
  space,
  spaceBuffers,
} from "../../src/native/boundary.js";

export const headerPath = "native/boundary.h";
export const versionPath = "src/native/boundary-version.ts";

/** `bytesRead`, `hidden q8_32 q` and `gelu-tanh` as BYTES_READ, HIDDEN_Q8_32_Q and GELU_TANH. */
const upper = (name: string) =>
  name
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .replace(/[ -]/g, "_")
    .toUpperCase();

function lines(indent: string, items: readonly string[], width = 118): string[] {
  const out: string[] = [];
  for (const item of items) {
    const last = out.at(-1);
    if (last !== undefined && last.length + item.length + 1 <= width) out[out.length - 1] = `${last} ${item}`;
    else out.push(indent + item);
  }
  return out;
}

/** An enumeration whose values are places in a list, and their number. */
function enumeration(name: string, prefix: string, names: readonly string[], count: string): string[] {
  const items = [...names.map((n, i) => `${prefix}_${upper(n)} = ${i},`), `${count} = ${names.length}`];
  return [`enum ${name} : int32_t {`, ...lines("  ", items), "};"];
}

const scoped = (name: string, names: readonly string[]): string =>
  `enum class ${name} : int32_t { ${names.join(", ")}, count };`;

const constants = (type: string, values: Readonly<Record<string, number>>): string[] =>
  Object.entries(values).map(([key, n]) => `constexpr ${type} k${key[0]!.toUpperCase()}${key.slice(1)} = ${n};`);

const withKernels = dtypes.filter(({ acts }) => acts !== undefined);
const actsOf = ({ acts }: Layout) => `ACTS_${upper(acts!)}`;

function dtypeTable(): string[] {
  const slots = Math.ceil((Math.max(...withKernels.map(({ id }) => id)) + 1) / 16) * 16;
  const ids = [...withKernels.map(({ name, id }) => `${name} = ${id},`), `DTYPE_SLOTS = ${slots}`];
  const rows = withKernels.map((d) => {
    const { name, blockValues, blockBytes, scaleAt = -1, minAt = -1 } = d;
    return `    {${name}, "${name.toLowerCase()}", ${blockValues}, ${blockBytes}, ${actsOf(d)}, ${scaleAt}, ${minAt}},`;
  });
  return [
    "// Types of blocks that have kernels; ids are ggml's.",
    "enum Dtype : int32_t {",
    ...lines("  ", ids),
    "};",
    "// Values and bytes of a block, the form of its activations, where the float16 scale and minimum of a block lie (-1:",
    "// none; the scales of MXFP4, NVFP4 and IQ1_M are of other kinds).",
    "struct DtypeInfo {",
    "  Dtype dtype;",
    "  const char* name;",
    "  int32_t block, bytes;",
    "  ActKind acts;",
    "  int32_t scale_at, min_at;",
    "};",
    "constexpr DtypeInfo kDtypes[] = {",
    ...rows,
    "};",
  ];
}

function layoutTable(): string[] {
  const rows = planeLayouts.flatMap((layout) => {
    const { name, order, units, planes } = layout;
    const form = layout.form!;
    const cells = planes.map(
      (p) => `{"${p.name}", ${p.rows}, ${p.cols}, ${p.bytes}, ${p.whole ?? false}, ${p.flat ?? false}}`,
    );
    const names = [form.codes, form.packing, form.scales, form.offsets].map(upper);
    const kinds = `CODES_${names[0]}, ${form.bits}, PACKING_${names[1]}, SCALES_${names[2]}, OFFSETS_${names[3]}`;
    return [
      `    {"${name.toLowerCase()}", ${order === "inputs"}, ${actsOf(layout)}, UNITS_${upper(units!)},`,
      `     {${kinds}, ${form.addend}, ${hexFloat(form.factor)}f}, ${planes.length},`,
      `     {${cells.join(",\n      ")}}},`,
    ];
  });
  return [
    "// How a layout of several planes is to be read (src/formats/layouts.ts).",
    "struct LayoutForm {",
    "  CodeKind codes;",
    "  int32_t bits;",
    "  Packing packing;",
    "  ScaleKind scales;",
    "  OffsetKind offsets;",
    "  int32_t addend;",
    "  float factor;",
    "};",
    "// A cell of a plane holds its share of `rows` output rows x `cols` inputs; 0: of all. Whole planes are needed by every",
    "// slice and come last; the cells of flat ones run on over the ends of rows.",
    "struct PlaneLayout {",
    "  const char* name;",
    "  int32_t rows, cols, bytes;",
    "  bool whole, flat;",
    "};",
    "// Layouts of several planes are described where they are used; these are one of each kind that kernels tell apart.",
    "struct PlanesInfo {",
    "  const char* name;",
    "  bool by_inputs;  // some inputs of all rows are contiguous; else some rows of all inputs",
    "  ActKind acts;",
    "  UnitKind units;",
    "  LayoutForm form;",
    "  int32_t planes;",
    "  PlaneLayout plane[kMostPlanes];",
    "};",
    "constexpr PlanesInfo kPlaneLayouts[] = {",
    ...rows,
    "};",
  ];
}

/** A positive f32 as C++ writes it exactly: -0.0217 would be rounded again. */
function hexFloat(value: number): string {
  const exponent = Math.floor(Math.log2(value));
  return `0x${(value / 2 ** exponent).toString(16)}p${exponent}`;
}

function body(): string {
  return [
    ...constants("int32_t", { ...limits, unitInputs }),
    ...constants("int64_t", space),
    "",
    ...enumeration("ActKind", "ACTS", actKinds, "ACT_FORMS"),
    ...enumeration("UnitKind", "UNITS", unitKinds, "UNIT_KINDS"),
    ...enumeration("CodeKind", "CODES", codeKinds, "CODE_KINDS"),
    ...enumeration("Packing", "PACKING", packings, "PACKINGS"),
    ...enumeration("ScaleKind", "SCALES", scaleKinds, "SCALE_KINDS"),
    ...enumeration("OffsetKind", "OFFSETS", offsetKinds, "OFFSET_KINDS"),
    ...enumeration("KvType", "KV", kvTypes, "KV_TYPES"),
    ...enumeration("GluKind", "GLU", glus, "GLU_KINDS"),
    ...enumeration("Activation", "ACT", activations, "ACT_KINDS"),
    ...enumeration("Pooling", "POOL", poolings, "POOL_KINDS"),
    ...enumeration("LookupBy", "LOOKUP", lookups, "LOOKUPS"),
    ...enumeration("Score", "SCORE", scores, "SCORES"),
    ...enumeration("Reach", "REACH", reaches, "REACHES"),
    ...enumeration("AttentionPart", "ATTENTION", attentionParts, "ATTENTION_PARTS"),
    ...enumeration("ProductInto", "INTO", productInto, "INTO_KINDS"),
    scoped("IoEngine", ioEngines),
    "",
    "// Numbers that are passed at once.",
    ...enumeration("SpaceBuffer", "SPACE", spaceBuffers, "SPACE_NUMBERS"),
    ...enumeration("LayoutNumber", "LAYOUT", layoutNumbers, "LAYOUT_NUMBERS"),
    ...enumeration("LayoutPlaneNumber", "LAYOUT_PLANE", layoutPlaneNumbers, "LAYOUT_PLANE_NUMBERS"),
    ...enumeration("KvLayerNumber", "KV_LAYER", kvLayerNumbers, "KV_LAYER_NUMBERS"),
    ...enumeration("SlotKind", "SLOT_OF", slotKinds, "SLOT_KINDS"),
    ...enumeration("SlotLayerNumber", "SLOT", slotLayerNumbers, "SLOT_NUMBERS"),
    ...enumeration("ModelCounter", "MODEL", modelCounters, "MODEL_COUNTERS"),
    ...enumeration("MachineCounter", "MACHINE", machineCounters, "MACHINE_COUNTERS"),
    ...enumeration("MemoryStateNumber", "MEMORY", memoryStates, "MEMORY_STATES"),
    ...enumeration("ResidencyCounter", "RESIDENCY", residencyCounters, "RESIDENCY_COUNTERS"),
    ...enumeration("MemoryRate", "MEMORY", memoryRates, "MEMORY_RATES"),
    ...enumeration("ReadRate", "READ", readRates, "READ_RATES"),
    ...enumeration("PolicyNumber", "POLICY", expertPolicyNumbers, "POLICY_NUMBERS"),
    "",
    ...dtypeTable(),
    "",
    ...layoutTable(),
  ].join("\n");
}

/** Tells tables apart. */
export const boundaryVersion = createHash("sha256").update(body()).digest("hex").slice(0, 16);

export function boundaryHeader(): string {
  return `// Generated by scripts/write-boundary.mjs from src/native/boundary.ts, where the words are explained,
// src/formats/dtypes.ts and src/formats/plane-layouts.ts. No functions: files of an instruction set include it.
#pragma once
#include <stdint.h>

namespace hw {

constexpr char kBoundaryVersion[] = "${boundaryVersion}";

${body()}

}  // namespace hw
`;
}

export function boundaryVersionModule(): string {
  return `/** Generated by scripts/write-boundary.mjs: which tables a binary must have been built from (boundary.ts). */
export const boundaryVersion = "${boundaryVersion}";
`;
}
