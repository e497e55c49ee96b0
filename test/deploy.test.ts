/** Manifests in deploy/, held to a schema of the fields they use; what they say of options and times is compared. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Ajv } from "ajv";
import { parse, parseAllDocuments } from "yaml";
import { commands } from "../src/cli/commands/index.js";
import { commandFacts } from "../src/cli/completion/facts.js";
import { packageRoot } from "../src/package-root.js";

const read = (name: string): string => readFileSync(join(packageRoot(), "deploy", name), "utf8");
const schemas = JSON.parse(readFileSync(join(packageRoot(), "test/golden/deploy.schema.json"), "utf8")) as object;
const ajv = new Ajv({ strict: false, allErrors: true });
ajv.addSchema(schemas, "deploy");

function check(kind: string, value: unknown): void {
  const validate = ajv.getSchema(`deploy#/$defs/${kind}`);
  assert.ok(validate !== undefined, `a schema of ${kind}`);
  assert.ok(validate(value), `${kind}: ${ajv.errorsText(validate.errors)}`);
}

/** Every option in the words of a command is one that it has. */
async function checkOptions(words: readonly string[]): Promise<void> {
  const facts = (await commandFacts(commands)).find(({ usage }) => usage.split(" ")[0] === words[0]);
  assert.ok(facts !== undefined, `a command ${words[0]}`);
  const known = facts.options.map(({ flags }) => flags).join(" ");
  for (const word of words.filter((each) => each.startsWith("--")))
    assert.ok(new RegExp(`${word}(?![-\\w])`).test(known), `${words[0]} has no ${word}`);
}

interface Manifest {
  readonly kind: string;
  readonly spec: {
    readonly template?: {
      readonly spec: {
        readonly terminationGracePeriodSeconds?: number;
        readonly containers: readonly { readonly args: readonly string[] }[];
        readonly volumes: readonly { readonly name: string }[];
      };
    };
  };
}

test("manifests of Kubernetes fit their schema, their options exist, and drains fit into the grace", async () => {
  for (const name of ["replicas", "shards", "workers"]) {
    for (const document of parseAllDocuments(read(`kubernetes/${name}.yaml`))) {
      assert.deepEqual(document.errors, []);
      const manifest = document.toJS() as Manifest;
      check(manifest.kind, manifest);
      const pod = manifest.spec.template?.spec;
      for (const { args } of pod?.containers ?? []) {
        await checkOptions(args);
        const drain = args[args.indexOf("--drain-timeout") + 1];
        if (args.includes("--drain-timeout")) assert.ok(Number(drain) < pod!.terminationGracePeriodSeconds!);
      }
    }
  }
});

test("the compose file fits its schema, and its options exist", async () => {
  const compose = parse(read("compose.yaml"), { merge: true }) as {
    services: Record<string, { command?: string[]; build?: object; depends_on?: string[] }>;
  };
  check("Compose", compose);
  for (const { command, build, depends_on = [] } of Object.values(compose.services)) {
    if (build !== undefined) await checkOptions(command!);
    for (const other of depends_on) assert.ok(other in compose.services, other);
  }
  for (const name of ["replica-1", "replica-2"]) assert.match(read("nginx.conf"), new RegExp(`server ${name}:8471`));
});

test("a manifest with a slip of the pen does not fit", () => {
  const good = parseAllDocuments(read("kubernetes/replicas.yaml"))[1]!.toJS() as object;
  const broken = JSON.stringify(good);
  for (const [from, to] of [
    ['"readinessProbe"', '"readynessProbe"'],
    ['"containerPort":8471', '"containerPort":"8471"'],
    ['"apps/v1"', '"v1"'],
    ['"mountPath"', '"path"'],
  ] as const) {
    const value = JSON.parse(broken.replace(from, to)) as object;
    assert.notDeepEqual(value, good, from);
    assert.throws(() => check("Deployment", value), /Deployment: /, from);
  }
});
