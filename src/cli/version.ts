/** `--version`: of the program, and which addon computes here with which instruction set. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { addonStatus } from "../native/addon.js";
import { packageVersion } from "../package-root.js";

/** Digits that tell one build of the addon from another. */
const digits = 12;

/** @returns lines; the first is name and version alone */
export function versionText(): string {
  const { state, isa, isas = [], path, reason } = addonStatus();
  const addon =
    state === "loaded" && path !== undefined
      ? `${isa} (can: ${isas.join(", ")}), build ${hashOf(path)}, ${path}`
      : `${state} (${reason}); plain TypeScript computes, slowly`;
  const node = `Node ${process.version}, ${process.platform}-${process.arch}`;
  return `hundredweight ${packageVersion()}\naddon ${addon}\n${node}\n`;
}

/** Builds are told apart by their bytes: the same sources with the same tools give the same. */
function hashOf(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex").slice(0, digits);
}
