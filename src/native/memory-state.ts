/** Memory as Windows and macOS state it; Linux does so in files (weights/memory-limit.ts). */
import { loadAddon } from "./addon.js";
import { memoryStates } from "./boundary.js";

/** Bytes, and the level of `pressure`; what the system does not say is missing. */
export type MemoryState = { readonly [name in (typeof memoryStates)[number]]?: number };

/** Empty without the addon: only what Node knows is known then. */
export function memoryState(): MemoryState {
  // The addon knows nothing of it there, and what it checks when it is loaded takes a while.
  if (process.platform === "linux") return {};
  const numbers = new Float64Array(memoryStates.length);
  try {
    const addon = loadAddon();
    if (addon === undefined) return {};
    addon.memoryState(numbers);
  } catch {
    return {}; // that the addon cannot be used is the engine's to complain of
  }
  return Object.fromEntries(memoryStates.flatMap((name, i) => (numbers[i]! < 0 ? [] : [[name, numbers[i]!]])));
}
