/** `/openapi.json` is true: what it lists is there, answers have the schemas it names, and so have refusals. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { RunningServer } from "../../src/server/index.js";
import { FakeEngine, type FakeJob } from "./fake-engine.js";
import { chatModel, postJson, serveFake } from "./support.js";

interface Operation {
  readonly responses: Readonly<Record<string, { content: { "application/json"?: { schema?: object } } }>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: object;
}

const messages = [{ role: "user", content: "hello" }];
/** A body that each route that wants one takes. */
const bodies: Readonly<Record<string, object>> = {
  "/v1/chat/completions": { messages, tools: [{ type: "function", function: { name: "f" } }] },
  "/v1/completions": { prompt: "hello" },
  "/v1/embeddings": { input: "hello" },
  "/tokenize": { content: "hello", with_pieces: true },
  "/detokenize": { tokens: [1, 2] },
  "/apply-template": { messages },
  "/infill": { input_prefix: "a", input_suffix: "b" },
  "/completion": { prompt: "hello" },
  "/completions": { prompt: ["hello", [1, 2]] },
  "/embedding": { content: "hello" },
  "/embeddings": { input: "hello" },
  "/v1/chat/completions/input_tokens": { messages },
  "/lora-adapters": [],
  "/api/chat": { messages, stream: false },
  "/api/generate": { prompt: "hello", stream: false },
  "/api/embed": { input: "hello" },
  "/api/embeddings": { prompt: "hello" },
  "/api/show": { model: "demo-chat" },
  "/v1/messages": { messages, max_tokens: 5 },
  "/v1/messages/count_tokens": { messages },
  "/v1/responses": { input: "hello" },
  "/v1/responses/input_tokens": { input: "hello" },
  "/v1/responses/compact": { input: "hello" },
};
/** They need another model, or files: their own tests hold what they answer. */
const elsewhere = /^\/(infill$|v1\/(rerank|files|batches))/;

describe("the OpenAPI document", () => {
  let server: RunningServer;
  let document: Document;
  let ajv: Ajv2020;

  before(async () => {
    const play = (job: FakeJob): void => {
      job.token("yes");
      job.finish();
    };
    const engine = new FakeEngine(play, { contextTokens: 1024 });
    server = await serveFake(engine, {}, await chatModel());
    document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;
    ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
    ajv.addSchema({ $id: "doc", ...document });
  });

  const holds = (path: string, method: string, status: string, answer: unknown): void => {
    const pointer = [path, method, "responses", status, "content", "application/json", "schema"]
      .map((key) => encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1")))
      .join("/");
    const validate = ajv.compile({ $ref: `doc#/paths/${pointer}` });
    const why = `${method} ${path}: ${JSON.stringify(answer).slice(0, 300)}`;
    assert.ok(validate(answer), `${ajv.errorsText(validate.errors)}; ${why}`);
  };

  it("lists routes that are there, with schemas their answers have", async () => {
    let id = "";
    const seen: string[] = [];
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, { responses }] of Object.entries(operations).sort(([a], [b]) => (a > b ? -1 : 1))) {
        if (elsewhere.test(path) || responses[200]!.content["application/json"] === undefined) continue;
        const url = server.url + path.replace("{id}", path.includes("models") ? "demo-chat" : id);
        const body = bodies[path];
        if (method === "post") assert.ok(body, `no body for ${path}`);
        if (method === "delete") continue;
        const response = method === "get" ? await fetch(url) : await postJson(url, body);
        const answer = (await response.json()) as { id?: string };
        assert.equal(response.status, 200, `${method} ${path}: ${JSON.stringify(answer)}`);
        holds(path, method, "200", answer);
        if (path === "/v1/responses") id = answer.id!;
        seen.push(path);
      }
    }
    assert.ok(seen.length > 12, String(seen));
    const gone = await fetch(`${server.url}/v1/responses/${id}`, { method: "DELETE" });
    holds("/v1/responses/{id}", "delete", "200", await gone.json());
  });

  it("says what a refusal looks like, on every route", async () => {
    const locked = await serveFake(new FakeEngine(), { apiKeys: ["sesame"] });
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, { responses }] of Object.entries(operations)) {
        const response = await fetch(locked.url + path, { method: method.toUpperCase() });
        assert.equal(response.status, responses[401] === undefined ? 200 : 401, path);
        if (responses[401] !== undefined) holds(path, method, "401", await response.json());
        if (method !== "post") continue;
        const refused = await postJson(server.url + path, "{");
        assert.ok(refused.status >= 400 && refused.status < 500, `${path}: ${refused.status}`);
        holds(path, method, "4XX", await refused.json());
      }
    }
  });

  it("lists every method that a listed path answers", async () => {
    for (const [path, operations] of Object.entries(document.paths)) {
      const refused = await fetch(server.url + path, { method: "PUT" });
      assert.equal(refused.status, 405, path);
      const allowed = refused.headers.get("allow")!.split(", ");
      const listed = Object.keys(operations).map((method) => method.toUpperCase());
      assert.deepEqual(
        allowed.filter((method) => method !== "HEAD"),
        listed.sort(),
        path,
      );
    }
  });

  it("says what is answered while the model is loading", async () => {
    const loading = await serveFake(new FakeEngine(), {}, await chatModel());
    await loading.context.model.close();
    // Whether the next model fills gaps or makes vectors is not known yet.
    const told = (await (await fetch(`${loading.url}/openapi.json`)).json()) as typeof document;
    assert.equal(told.paths["/infill"], undefined);
    assert.ok(told.paths["/completion"]);
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, { responses }] of Object.entries(operations)) {
        if (responses[503] === undefined) continue;
        const response =
          method === "get"
            ? await fetch(loading.url + path)
            : await postJson(loading.url + path, bodies[path] ?? { query: "a", documents: ["b"] });
        const answer = await response.json();
        assert.equal(response.status, 503, `${path} ${JSON.stringify(answer)}`);
        holds(path, method, "503", answer);
      }
    }
  });
});
