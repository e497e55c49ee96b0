/**
 * The weights of an ONNX model under the names that a Hugging Face folder has for them. Names of modules stand in the
 * names of nodes (`/model/layers.0/self_attn/q_proj/MatMul_Q4`); initializers of matrices often have none of their own.
 */
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { HundredweightError } from "../../errors.js";
import { checkRegular } from "../../regular-file.js";
import { isPlainName } from "../stored/shards.js";
import { elementBytes, invalidFile, type StoredFile, type StoredFolder, type StoredTensor } from "../stored/stored.js";
import { type Initializer, type Node, type OnnxWeights, readGraph } from "./graph.js";

/**
 * Reads the graph of a model, never its weights.
 * @throws FILE_NOT_FOUND (data that lie in another file, too), FORMAT_UNKNOWN, FORMAT_INVALID, FORMAT_UNSUPPORTED
 */
export function readOnnxFile(path: string): StoredFolder {
  const graph = readGraph(path);
  const files = new Map<string, StoredFile>([[path, { path, fileBytes: graph.fileBytes }]]);
  const tensors = new Map<string, StoredTensor>();
  const add = (name: string, tensor: StoredTensor): void => {
    if (tensors.has(name)) throw invalidFile(path, `'${name}' is there twice`);
    tensors.set(name, { ...tensor, name });
  };
  const used = new Set<string>();
  for (const node of graph.nodes) {
    const module = moduleOf(node.name);
    const weight = graph.initializers.get(node.inputs[1] ?? "");
    if (module === undefined || weight === undefined) continue;
    for (const [part, tensor] of weightOf(graph, files, node, module, weight)) add(`${module}.${part}`, tensor);
    for (const input of node.inputs) used.add(input);
  }
  for (const initializer of graph.initializers.values()) {
    // Constants of the graph have no names of modules; small ones have no bytes of their own.
    const name = plainName(initializer.name);
    if (name === undefined || used.has(initializer.name) || initializer.place === undefined) continue;
    add(name, storedAt(graph, files, initializer));
  }
  return { format: "onnx", files: [...files.values()], tensors };
}

/** `model.layers.0.self_attn.q_proj` of a node's name; onnxruntime-genai writes `attn` for it. */
function moduleOf(name: string): string | undefined {
  const [, path] = /^\/?(.+)\/(?:MatMul|Gemm)[\w.]*$/.exec(name) ?? [];
  return path === undefined ? undefined : asModule(path.replaceAll("/", "."));
}

const asModule = (name: string): string =>
  name
    .replace(/(layers\.\d+)\.attn\./, "$1.self_attn.")
    .replace(/^model\.layers\.\d+\.final_norm_layernorm$/, "model.norm")
    .replace(/\.(q_norm|k_norm)\.layernorm$/, ".$1");

/** The name of an initializer that is one of a module's. */
function plainName(name: string): string | undefined {
  const [, module, part] = /^((?:model|lm_head|transformer)\b.*?)\.(weight|bias)$/.exec(name) ?? [];
  return module === undefined ? undefined : `${asModule(module)}.${part}`;
}

function weightOf(
  graph: OnnxWeights,
  files: Map<string, StoredFile>,
  node: Node,
  module: string,
  weight: Initializer,
): [part: string, tensor: StoredTensor][] {
  const refuse = (what: string): HundredweightError =>
    new HundredweightError("FORMAT_UNSUPPORTED", `${graph.path}: weight '${module}' ${what}, which is not supported`);
  if (node.kind === "MatMul" || node.kind === "Gemm") {
    const tensor = storedAt(graph, files, weight);
    const upright = node.kind === "Gemm" && node.attributes.get("transB") === 1;
    const bias = node.kind === "Gemm" ? graph.initializers.get(node.inputs[2] ?? "") : undefined;
    return [
      ["weight", upright || tensor.shape.length !== 2 ? tensor : { ...tensor, turned: true }],
      ...(bias === undefined ? [] : ([["bias", storedAt(graph, files, bias)]] as [string, StoredTensor][])),
    ];
  }
  if (node.kind !== "MatMulNBits") throw refuse(`is an input of ${node.kind}`);
  const [, , scaleName, zeros, index, bias] = node.inputs;
  if (index) throw refuse("has a g_idx");
  const number = (key: string, otherwise = 0): number => node.attributes.get(key) ?? otherwise;
  const [cols, rows, bits, block] = [number("K"), number("N"), number("bits", 4), number("block_size")];
  const scale = graph.initializers.get(scaleName ?? "");
  if (scale === undefined) throw invalidFile(graph.path, `weight '${module}' has no scales`);
  if (bits !== 4 && bits !== 8) throw refuse(`has values of ${bits} bits`);
  if (block === 0 || cols % block !== 0 || cols % 32 !== 0 || rows === 0)
    throw refuse(`of ${rows} x ${cols} values is not whole blocks of ${block}`);
  const [words, scales] = [storedAt(graph, files, weight), storedAt(graph, files, scale)];
  // The same bytes as compressed-tensors' words: codes of a row follow each other, low bits first.
  const expected = (rows * cols * bits) / 8;
  if (words.bytes !== expected)
    throw invalidFile(graph.path, `'${weight.name}' has ${words.bytes} bytes; ${rows} x ${cols} take ${expected}`);
  const found: [string, StoredTensor][] = [
    ["weight_packed", { ...words, dtype: "I32", shape: [rows, (cols * bits) / 32], bits }],
    ["weight_scale", { ...scales, shape: [rows, cols / block] }],
  ];
  if (zeros) {
    const zero = graph.initializers.get(zeros);
    if (zero === undefined) throw invalidFile(graph.path, `weight '${module}' has no zero_points '${zeros}'`);
    const stored = storedAt(graph, files, zero);
    if (stored.dtype !== "U8") throw refuse(`has zero_points of ${stored.dtype} (quantize with integer ones)`);
    // The codes of a row's blocks fill whole bytes.
    const each = Math.ceil(((cols / block) * bits) / 8);
    if (stored.bytes !== rows * each)
      throw invalidFile(graph.path, `'${zeros}' has ${stored.bytes} bytes; ${rows} rows of ${each} are needed`);
    found.push(["weight_zero_point", { ...stored, shape: [rows, each] }]);
  }
  const offset = bias === undefined ? undefined : graph.initializers.get(bias);
  if (offset !== undefined) found.push(["bias", storedAt(graph, files, offset)]);
  return found;
}

function storedAt(graph: OnnxWeights, files: Map<string, StoredFile>, initializer: Initializer): StoredTensor {
  const { name, dtype, dims, place } = initializer;
  const each = dtype === undefined ? undefined : elementBytes[dtype];
  if (each === undefined || dtype === undefined || place === undefined)
    throw new HundredweightError("FORMAT_UNSUPPORTED", `${graph.path}: '${name}' has no bytes of a known type`);
  const file = place.file === undefined ? graph.path : outside(graph.path, place.file, files);
  const bytes = dims.reduce((product, size) => product * size, each);
  if (bytes !== (place.bytes ?? bytes))
    throw invalidFile(
      graph.path,
      `'${name}' [${dims.join(", ")}] of ${dtype} takes ${bytes} bytes, not ${place.bytes}`,
    );
  if (!Number.isSafeInteger(bytes) || place.offset + bytes > files.get(file)!.fileBytes)
    throw invalidFile(file, `ends before '${name}', ${bytes} bytes at ${place.offset}; download it again`);
  return { name, dtype, shape: dims, file, offset: place.offset, bytes };
}

/** Another file of the folder.  @throws FORMAT_INVALID for a name that leads out of it, FILE_NOT_FOUND */
function outside(path: string, name: string, files: Map<string, StoredFile>): string {
  if (!isPlainName(name)) throw invalidFile(path, `the file name '${name.slice(0, 100)}', which is no plain name`);
  const file = join(dirname(path), name);
  if (files.has(file)) return file;
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined)
    throw new HundredweightError("FILE_NOT_FOUND", `${file}: is missing, the weights of ${path}; fetch it too`, {
      path: file,
    });
  checkRegular(file, stats);
  files.set(file, { path: file, fileBytes: stats.size });
  return file;
}
