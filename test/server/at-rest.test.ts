/** A server that nobody has asked yet holds no schema of any API: their code comes with the first request. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { Hono } from "hono";
import { packageRoot } from "../../src/package-root.js";
import { laterApis } from "../../src/server/apis.js";
import { addLater, handlersOf } from "../../src/server/http/later.js";
import type { ServerContext } from "../../src/server/service/context.js";
import { FakeEngine } from "./fake-engine.js";
import { serveFake } from "./support.js";

const source = join(packageRoot(), "src");

/** Files that come with this one, by its imports that are not for types alone. */
function comesWith(entry: string): Set<string> {
  const found = new Set<string>();
  const open = [join(source, entry)];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    const name = relative(source, file);
    if (found.has(name)) continue;
    found.add(name);
    const text = readFileSync(file, "utf8");
    for (const [, from] of text.matchAll(/^(?:import|export) (?!type )[^;]*?"(\.[^"]+)\.js";/gms))
      open.push(join(dirname(file), `${from}.ts`));
  }
  return found;
}

test("code of an API is loaded by its first request only", () => {
  const app = comesWith("server/app.ts");
  assert.ok(app.has("server/service/model-service.ts") && app.has("server/http/security.ts"), "imports are not found");
  const early = [...app].filter((name) =>
    /^server\/(anthropic|batches|llama|ollama|openai|responses|routes)\//.test(name),
  );
  // The model's name, health and figures, errors in the shape of each API, and whether a batch was left unfinished.
  const small = new Set([
    ...["failure", "models"].map((name) => `server/anthropic/${name}.ts`),
    ...["failure", "greeting"].map((name) => `server/ollama/${name}.ts`),
    ...["health", "metrics", "llama-metrics"].map((name) => `server/routes/${name}.ts`),
    ...["waiting", "records", "batch-record"].map((name) => `server/batches/${name}.ts`),
    "server/openai/models.ts",
  ]);
  assert.deepEqual(
    early.filter((name) => !small.has(name)),
    [],
  );
});

test("every route of an API is listed, and no other", async () => {
  const engine = new FakeEngine();
  const { context } = await serveFake(engine);
  const app = new Hono();
  const seen = new Set<string>();
  for (const { routes, load } of laterApis(app, context as ServerContext, context.config.dataFolder ?? "/nowhere")) {
    const listed = routes.flatMap(([method, ...paths]) => paths.map((path) => `${method} ${path}`));
    assert.deepEqual([...handlersOf(await load()).keys()].sort(), listed.sort());
    for (const route of listed) {
      assert.ok(!seen.has(route), `${route} is listed twice`);
      seen.add(route);
    }
  }
  assert.ok(seen.has("POST /v1/chat/completions") && seen.has("GET /openapi.json"));
});

test("code that cannot be loaded fails its request, and is looked for again by the next", async () => {
  const app = new Hono();
  let tries = 0;
  const load = async () => {
    if (++tries === 1) throw new Error("half a program");
    return (own: Hono) => void own.get("/a/:name", (c) => c.text(c.req.param("name")));
  };
  app.onError((error, c) => c.text(error.message, 500));
  addLater(app, { routes: [["GET", "/a/:name"]], load }, () => {});
  const asked = async () => (await app.request("/a/b")).text();
  assert.deepEqual([await asked(), await asked(), await asked()], ["half a program", "b", "b"]);
  assert.equal(tries, 2);
});
