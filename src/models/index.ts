/** Model definitions: what architectures exist, what a file holds, and the forward pass. */
export { type BoundModel, bindDescription, bindModel, type KvGroup, type ModelOptions } from "./bind.js";
export { describeModel, type LayerDescription, type ModelDescription, type ModelTensor } from "./describe.js";
export { estimateMemory, type MemoryEstimate } from "./estimate.js";
export type { HiddenRows } from "./forward.js";
export { architectures, findArchitecture } from "./registry.js";
export { type Declaration, type KvSpec, type ModelConfig, type Mutation, mutations, type Role } from "./spec.js";
