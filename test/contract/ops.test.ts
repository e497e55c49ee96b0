/** The contract on the reference, and on the addon with one and three threads for every instruction set of this CPU. */
import { test } from "node:test";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { differentialSuite } from "./differential.suite.js";
import { opsSuite } from "./ops.suite.js";

opsSuite("reference", () => new ReferenceOps());

const status = addonStatus();
if (status.state === "loaded") {
  for (const isa of status.isas ?? [])
    for (const threads of isa === status.isa ? [1, 3] : [2]) {
      const make = () => createOps({ kind: "native", isa, threads });
      opsSuite(`native/${isa}, ${threads} threads`, make);
      differentialSuite(`native/${isa}, ${threads} threads`, make);
    }
} else {
  test("ops contract: native", { skip: `the addon is not loaded: ${status.reason}` }, () => {});
}
