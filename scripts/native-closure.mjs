// Which objects a program is linked of, as `nm` knows it: what no symbol leads to need not be compiled for it.
import { spawnSync } from "node:child_process";

/** Symbols of an object: those it defines for others, and those it wants; undefined without nm. */
function symbolsOf(object) {
  const nm = spawnSync("nm", ["-g", object], { encoding: "utf8", maxBuffer: 2 ** 26 });
  if (nm.error || nm.status !== 0) return undefined;
  const lines = [...nm.stdout.matchAll(/^[0-9a-f ]*([A-Za-z]) (\S+)$/gm)];
  const of = (kinds) => lines.filter(([, kind]) => kinds.includes(kind)).map(([, , name]) => name);
  return { defines: of("TDBR"), wants: of("Uw") };
}

/**
 * The objects among `objects` that `roots` lead to, from symbol to symbol, roots left out.
 * @returns undefined where nm cannot tell
 */
export function reached(roots, objects) {
  const definedIn = new Map();
  const wants = new Map();
  for (const object of [...roots, ...objects]) {
    const symbols = symbolsOf(object);
    if (symbols === undefined) return undefined;
    wants.set(object, symbols.wants);
    if (!roots.includes(object)) for (const name of symbols.defines) definedIn.set(name, object);
  }
  const found = new Set(roots);
  for (const object of found)
    for (const name of wants.get(object)) if (definedIn.has(name)) found.add(definedIn.get(name));
  for (const root of roots) found.delete(root);
  return found;
}
