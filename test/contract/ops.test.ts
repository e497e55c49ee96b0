import { ReferenceOps } from "../../src/ops/reference.js";
import { opsSuite } from "./ops.suite.js";

opsSuite("reference", () => new ReferenceOps());
