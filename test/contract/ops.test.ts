/** The contract on the reference, and on the addon with one and three threads for every instruction set of this CPU. */
import { test } from "node:test";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { differentialSuite } from "./differential.suite.js";
import { opsSuite } from "./ops.suite.js";

/** Only the implementation of this name, and the contract alone: for a slow emulator. */
const only = process.env.HUNDREDWEIGHT_CONTRACT;
if (only === undefined) opsSuite("reference", () => new ReferenceOps());

const status = addonStatus();
if (status.state === "loaded") {
  for (const isa of status.isas ?? [])
    for (const threads of isa === status.isa ? [1, 3] : [2]) {
      const name = `${isa}, ${threads} threads`;
      if (only !== undefined && only !== name) continue;
      const make = () => createOps({ kind: "native", isa, threads });
      opsSuite(`native/${name}`, make);
      if (only === undefined) differentialSuite(`native/${name}`, make);
    }
} else {
  test("ops contract: native", { skip: `the addon is not loaded: ${status.reason}` }, () => {});
}
