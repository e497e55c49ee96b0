/** Statements become functions of the rendering that say how they ended. */
import type { Runtime } from "./runtime.js";

export type Ending = "end" | "break" | "continue";
export type Execute = (r: Runtime) => Ending;
