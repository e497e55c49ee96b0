/** Model definitions: what architectures exist, what a file holds, and the forward pass. */

export { type Ablation, ablate, ablations } from "./ablation.js";
export { withAdapters } from "./adapt.js";
export {
  type BoundModel,
  type BoundProgram,
  bindDescription,
  bindModel,
  type GroupTurns,
  type KvGroup,
  type ModelOptions,
} from "./bind.js";
export { withChecks } from "./check.js";
export { chunkRows } from "./chunk-rows.js";
export {
  describeModel,
  guessingBlocks,
  type KeptState,
  type ModelDescription,
  type ModelTensor,
  withPrograms,
} from "./describe.js";
export { estimateMemory, type MemoryEstimate } from "./estimate.js";
export {
  type Declaration,
  type ModelConfig,
  type Mutation,
  mutations,
  type PoolingName,
  poolings,
  type VectorConfig,
} from "./flow/architecture.js";
export { type ExpertBody, type HeardExperts, lookedBack, type Program, weightsOf } from "./flow/calls.js";
export type { Role } from "./flow/tensors.js";
export type { HiddenRows, PassExtras } from "./forward.js";
export { factorSuffixes } from "./record-tensors.js";
export { architectures, decoders, encoders, findArchitecture } from "./registry.js";
export {
  type ExpertLayer,
  type ExpertListener,
  expertLayers,
  withExpertTaps,
  withStreamTaps,
  withTaps,
} from "./rewrite.js";
