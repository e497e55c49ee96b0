// Writes native/boundary.h and src/native/boundary-version.ts from the boundary table, after tsc:
//   node scripts/write-boundary.mjs
import { writeFileSync } from "node:fs";
import { packageRoot } from "../dist/src/package-root.js";
import * as generated from "../dist/test/support/boundary-header.js";

writeFileSync(`${packageRoot()}/${generated.headerPath}`, generated.boundaryHeader());
writeFileSync(`${packageRoot()}/${generated.versionPath}`, generated.boundaryVersionModule());
