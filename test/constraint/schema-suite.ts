/**
 * The JSON-Schema-Test-Suite against the compiler: of each schema whether it is refused, of each instance whether it
 * is judged rightly. Instances are written as JSON.stringify writes them.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HundredweightError } from "../../src/errors.js";
import { Judge } from "./support.js";

export interface SuiteGroup {
  readonly description: string;
  readonly schema: unknown;
  readonly tests: readonly { readonly description: string; readonly data: unknown; readonly valid: boolean }[];
}

export interface KeywordCount {
  groups: number;
  refused: number;
  instances: number;
  wrongAccepted: number;
  wrongRefused: number;
}

/** Files of the suite that ask for what a grammar of one document cannot have. */
const leftAside = ["refRemote.json", "dynamicRef.json", "unevaluatedItems.json", "unevaluatedProperties.json"];

export function unpackSuite(archive: string): string {
  const folder = mkdtempSync(join(tmpdir(), "schema-suite-"));
  execFileSync("tar", ["xf", archive, "-C", folder]);
  return folder;
}

export function suiteFiles(folder: string, draft: "draft7" | "draft2020-12"): Map<string, SuiteGroup[]> {
  const at = join(folder, "tests", draft);
  const files = readdirSync(at).filter((name) => name.endsWith(".json") && !leftAside.includes(name));
  return new Map(files.map((name) => [name, JSON.parse(readFileSync(join(at, name), "utf8")) as SuiteGroup[]]));
}

/** @param onFault is told of every wrong judgement */
export function runSuite(
  files: ReadonlyMap<string, readonly SuiteGroup[]>,
  draft: "draft-7" | "2020-12",
  onFault: (line: string) => void,
): Map<string, KeywordCount> {
  const judge = new Judge();
  const counts = new Map<string, KeywordCount>();
  for (const [name, groups] of files) {
    const count = { groups: 0, refused: 0, instances: 0, wrongAccepted: 0, wrongRefused: 0 };
    counts.set(name, count);
    for (const group of groups) {
      count.groups++;
      const options = {
        strict: true,
        order: "any",
        closed: false,
        inferTypes: false,
        formats: false,
        whiteSpace: "none",
        draft,
      } as const;
      const constraint = { kind: "json_schema", schema: group.schema, options } as const;
      try {
        judge.matcher(constraint);
      } catch (error) {
        if (!(error instanceof HundredweightError)) throw error;
        // A schema that nothing satisfies is understood: every instance is refused.
        const nothing = error.message.endsWith("no text satisfies it");
        if (!nothing) {
          count.refused++;
          onFault(`refused: ${name}: ${group.description}: ${error.message}`);
        } else {
          for (const test of group.tests) {
            count.instances++;
            if (!test.valid) continue;
            count.wrongRefused++;
            onFault(`wrongly refused: ${name}: ${group.description}: ${test.description}: nothing satisfies it`);
          }
        }
        continue;
      }
      for (const test of group.tests) {
        count.instances++;
        const accepted = judge.accepts(constraint, JSON.stringify(test.data));
        if (accepted === test.valid) continue;
        if (accepted) count.wrongAccepted++;
        else count.wrongRefused++;
        const what = accepted ? "wrongly accepted" : "wrongly refused";
        onFault(`${what}: ${name}: ${group.description}: ${test.description}: ${JSON.stringify(test.data)}`);
      }
    }
  }
  return counts;
}
