// Writes native/kernels/codebook_grids.inc from src/formats/codebook-grids.ts: node scripts/write-codebooks.mjs (after
// a build).
import { writeFileSync } from "node:fs";
import { packageRoot } from "../dist/src/package-root.js";
import { codebookInclude, codebookIncludePath } from "../dist/test/support/codebook-include.js";

writeFileSync(`${packageRoot()}/${codebookIncludePath}`, codebookInclude());
