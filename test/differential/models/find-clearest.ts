/** Prints the table of clearest.ts: node dist/test/differential/models/find-clearest.js */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decoders } from "../../../src/models/index.js";
import { firstArchitectures } from "../../support/random-model.js";
import { clearMargin, findClearest } from "./compare.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-clearest-"));
try {
  for (const { name, tiny } of decoders)
    for (const [v, { variant }] of tiny.entries())
      for (const dtype of v === 0 && firstArchitectures.includes(name) ? ["F32", "F16"] : ["F32"]) {
        const { seed, margin } = await findClearest(join(folder, "model.gguf"), [name, variant, dtype]);
        if (seed !== 1 || margin <= clearMargin) console.log(`  "${name} ${variant} ${dtype}": [${seed}, ${margin}],`);
      }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
