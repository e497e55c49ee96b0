/** The only file that loads the binary. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { HundredweightError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import type { CpuInfo, NativeAddon } from "./addon.types.js";
import { boundaryVersion } from "./boundary-version.js";
import { missingFunctions } from "./functions.js";
import { prebuiltBinaries } from "./prebuilt.js";

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

let loaded: { readonly addon: NativeAddon | undefined; readonly status: () => AddonStatus } | undefined;

type Loaded = NonNullable<typeof loaded>;

/**
 * HUNDREDWEIGHT_NATIVE is `off` or the path of another build. Without it what was built here goes first, since who
 * built it wants it, and then what was installed for this platform.
 */
function load(): Loaded {
  const wanted = process.env.HUNDREDWEIGHT_NATIVE;
  if (wanted === "off") return unusable("off", undefined, "switched off by HUNDREDWEIGHT_NATIVE=off");
  const own = wanted ? resolve(wanted) : join(packageRoot(), "build", "native", "hundredweight.node");
  if (wanted || existsSync(own)) return open(own);
  let first: Loaded | undefined;
  for (const path of prebuiltBinaries()) {
    const result = open(path);
    if (result.addon !== undefined) return result;
    first ??= result;
  }
  return first ?? open(own);
}

function unusable(state: AddonStatus["state"], path: string | undefined, reason: string): Loaded {
  return { addon: undefined, status: () => ({ state, path, reason }) };
}

function open(path: string): Loaded {
  if (!existsSync(path)) return unusable("missing", path, `${path} is missing`);
  try {
    const module = { exports: {} };
    process.dlopen(module, path); // unlike require, never runs a file that is no addon as JavaScript
    const lacks = missingFunctions(module.exports);
    const foreign = `${path} is of another version of this program`;
    if (lacks.length > 0) return unusable("outdated", path, `${foreign}: it lacks ${lacks.slice(0, 3).join(", ")}`);
    const addon = module.exports as NativeAddon;
    if (addon.boundary() !== boundaryVersion) return unusable("outdated", path, `${foreign}: its tables differ`);
    addon.setErrorClass(HundredweightError);
    // The instruction set is chosen by checking kernels, which takes a while, and some need none of them.
    if (process.env.HUNDREDWEIGHT_ISA !== undefined) addon.isa();
    let status: AddonStatus | undefined;
    return {
      addon,
      status: () => {
        status ??= { state: "loaded", path, isa: addon.isa(), isas: addon.isas(), cpu: addon.cpuInfo() };
        return status;
      },
    };
  } catch (error) {
    // A wrong HUNDREDWEIGHT_ISA is the user's mistake, not a reason to run something else.
    if (error instanceof HundredweightError && error.code === "OPTION_INVALID") throw error;
    return unusable("failed", path, error instanceof Error ? error.message.split("\n")[0]! : String(error));
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
  return loaded.status();
}
