/** The only file that loads the binary. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { HundredweightError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import type { CpuInfo, NativeAddon } from "./addon.types.js";
import { boundaryVersion } from "./boundary-version.js";
import { missingFunctions } from "./functions.js";

export interface AddonStatus {
  /**
   * `off`: switched off by HUNDREDWEIGHT_NATIVE; `missing`: not built; `failed`: there but unusable; `outdated`: of an
   * older program.
   */
  readonly state: "loaded" | "off" | "missing" | "failed" | "outdated";
  readonly path: string | undefined;
  readonly reason?: string;
  readonly isa?: string;
  readonly isas?: readonly string[];
  readonly cpu?: CpuInfo;
}

let loaded: { readonly addon: NativeAddon | undefined; readonly status: AddonStatus } | undefined;

/** HUNDREDWEIGHT_NATIVE is `off` or the path of another build. */
function load(): NonNullable<typeof loaded> {
  const wanted = process.env.HUNDREDWEIGHT_NATIVE;
  if (wanted === "off")
    return {
      addon: undefined,
      status: { state: "off", path: undefined, reason: "switched off by HUNDREDWEIGHT_NATIVE=off" },
    };
  const path = wanted ? resolve(wanted) : join(packageRoot(), "build", "native", "hundredweight.node");
  if (!existsSync(path)) return { addon: undefined, status: { state: "missing", path, reason: `${path} is missing` } };
  try {
    const module = { exports: {} };
    process.dlopen(module, path); // unlike require, never runs a file that is no addon as JavaScript
    const lacks = missingFunctions(module.exports);
    if (lacks.length > 0) {
      const reason = `${path} is of another version of this program: it lacks ${lacks.slice(0, 3).join(", ")}`;
      return { addon: undefined, status: { state: "outdated", path, reason } };
    }
    const addon = module.exports as NativeAddon;
    if (addon.boundary() !== boundaryVersion) {
      const reason = `${path} is of another version of this program: its tables differ`;
      return { addon: undefined, status: { state: "outdated", path, reason } };
    }
    addon.setErrorClass(HundredweightError);
    const status: AddonStatus = { state: "loaded", path, isa: addon.isa(), isas: addon.isas(), cpu: addon.cpuInfo() };
    return { addon, status };
  } catch (error) {
    // A wrong HUNDREDWEIGHT_ISA is the user's mistake, not a reason to run something else.
    if (error instanceof HundredweightError && error.code === "OPTION_INVALID") throw error;
    const reason = error instanceof Error ? error.message.split("\n")[0]! : String(error);
    return { addon: undefined, status: { state: "failed", path, reason } };
  }
}

/** Undefined when the addon cannot be used; `addonStatus()` tells why. @throws OPTION_INVALID for HUNDREDWEIGHT_ISA */
export function loadAddon(): NativeAddon | undefined {
  loaded ??= load();
  return loaded.addon;
}

/** @throws NATIVE_UNAVAILABLE, OPTION_INVALID */
export function requireAddon(): NativeAddon {
  const addon = loadAddon();
  if (addon === undefined)
    throw new HundredweightError(
      "NATIVE_UNAVAILABLE",
      `the native addon is needed but ${addonStatus().reason}; build it with: npm run build:native`,
    );
  return addon;
}

export function addonStatus(): AddonStatus {
  loaded ??= load();
  return loaded.status;
}
