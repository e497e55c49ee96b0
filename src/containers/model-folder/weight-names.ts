/** Tells by the names of its files whether a folder is a model: which of them readStoredFolder would read. */

/** Second copies, adapters, and what training keeps beside the weights. */
const others = /^(consolidated|adapter|training_args|optimizer|scheduler|rng_state|scaler)/;

const wholePytorch = "pytorch_model.bin";

/** Files beside a graph that hold its tensors: `model.onnx_data`, `model.onnx.data`, numbered ones. */
export const graphData = (graph: string, name: string): boolean =>
  name.startsWith(graph) && /^[._]data(_\d+)?$/.test(name.slice(graph.length));

/**
 * The weights among the files of one folder, in the order in which kinds of them are preferred.
 * @param names plain names, in any order
 * @returns names; none where nothing joins several checkpoints, or the folder holds no config.json
 */
export function weightNames(names: readonly string[]): string[] {
  if (!names.includes("config.json")) return [];
  const own = names.filter((name) => !others.test(name)).sort();
  const tensors = own.filter((name) => name.endsWith(".safetensors"));
  if (tensors.length > 0) return tensors;
  const checkpoints = own.filter((name) => /\.(bin|pth?)$/.test(name));
  if (checkpoints.includes(wholePytorch)) return [wholePytorch];
  const shards = names.includes(`${wholePytorch}.index.json`);
  if (shards) return checkpoints.filter((name) => name.endsWith(".bin"));
  if (checkpoints.length === 1) return checkpoints;
  const graphs = own.filter((name) => name.endsWith(".onnx"));
  const graph = graphs.includes("model.onnx") ? "model.onnx" : graphs.length === 1 ? graphs[0]! : undefined;
  return graph === undefined ? [] : [graph, ...own.filter((name) => graphData(graph, name))];
}
