/** npm `openai` leaves files and has them worked off, also by a server that is killed in between. */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import OpenAI, { toFile } from "openai";
import { exited, firstOf, until as patiently } from "../support/wait.js";
import { FakeEngine, type FakeJob } from "./fake-engine.js";
import { chatModel, type FailureBody, needsThreads, serveFake, testFolder, until } from "./support.js";

const line = (id: string, more: object = {}, url = "/v1/chat/completions"): string =>
  JSON.stringify({
    custom_id: id,
    method: "POST",
    url,
    body: { model: "any", messages: [{ role: "user", content: `say ${id}` }], max_tokens: 4, ...more },
  });

const finish = (job: FakeJob): void => {
  job.token("done");
  job.finish();
};

const clientOf = (url: string, apiKey = "none"): OpenAI => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const endpoint = "/v1/chat/completions";
const night = { endpoint, completion_window: "24h" } as const;

async function started(play: (job: FakeJob) => void = finish, config: object = {}) {
  const dataFolder = mkdtempSync(join(testFolder(), "batches-"));
  const engine = new FakeEngine(play, { contextTokens: 1024 });
  const server = await serveFake(engine, { dataFolder, ...config });
  return { server, engine, dataFolder, url: server.url, client: clientOf(server.url) };
}

async function ended(client: OpenAI, id: string): Promise<OpenAI.Batch> {
  for (let i = 0; i < 2000; i++) {
    const batch = await client.batches.retrieve(id);
    if (["completed", "failed", "cancelled"].includes(batch.status)) return batch;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("the batch does not end");
}

interface OutputLine {
  readonly id: string;
  readonly custom_id: string | null;
  readonly response: {
    readonly status_code: number;
    readonly body: { readonly choices: readonly [{ readonly message: { readonly content: string } }] };
  } | null;
  readonly error: { readonly code: string } | null;
}

const linesOf = async (client: OpenAI, id: string): Promise<OutputLine[]> => {
  const text = await (await client.files.content(id)).text();
  return text
    .trimEnd()
    .split("\n")
    .map((one) => JSON.parse(one));
};

describe("files and batches", () => {
  it("answers every line once, and parts those that failed", async () => {
    const { client } = await started();
    const text = [line("a"), line("b", { temperature: "hot" }), "no JSON", line("a"), line("c", {}, "/v1/embeddings")];
    const file = await client.files.create({
      file: await toFile(Buffer.from(`${text.join("\n")}\n`), "in.jsonl"),
      purpose: "batch",
    });
    assert.deepEqual(
      [file.object, file.purpose, file.filename, file.status],
      ["file", "batch", "in.jsonl", "processed"],
    );
    assert.equal(file.bytes, text.join("\n").length + 1);
    assert.equal(await (await client.files.content(file.id)).text(), `${text.join("\n")}\n`);
    const created = await client.batches.create({ ...night, input_file_id: file.id, metadata: { who: "me" } });
    assert.deepEqual([created.object, created.endpoint, created.metadata], ["batch", endpoint, { who: "me" }]);
    const batch = await ended(client, created.id);
    assert.equal(batch.status, "completed");
    assert.deepEqual(batch.request_counts, { total: 5, completed: 1, failed: 4 });
    const answers = await linesOf(client, batch.output_file_id!);
    assert.deepEqual(
      answers.map(({ custom_id: id, response }) => [
        id,
        response!.status_code,
        response!.body.choices[0].message.content,
      ]),
      [["a", 200, "done"]],
    );
    const errors = await linesOf(client, batch.error_file_id!);
    assert.deepEqual(
      errors.map(({ id, error, response }) => [id, error?.code ?? response!.status_code]),
      [
        ["batch_req_2", 400],
        ["batch_req_3", "invalid_line"],
        ["batch_req_4", "duplicate_custom_id"],
        ["batch_req_5", "invalid_line"],
      ],
    );
    assert.deepEqual(
      (await client.batches.list()).data.map(({ id }) => id),
      [batch.id],
    );
    const names = (await client.files.list()).data.map(({ purpose }) => purpose).sort();
    assert.deepEqual(names, ["batch", "batch_output", "batch_output"]);
    assert.deepEqual(await client.files.delete(file.id), { id: file.id, object: "file", deleted: true });
    await assert.rejects(client.files.retrieve(file.id), { status: 404 });
  });

  it("ends what is cancelled, with the answers that are there", async () => {
    const { client, engine } = await started((job) => {
      if (engine.jobs.length <= 3) finish(job);
    });
    const text = Array.from({ length: 20 }, (_, i) => line(`l${i}`)).join("\n");
    const file = await client.files.create({ file: await toFile(Buffer.from(text), "in.jsonl"), purpose: "batch" });
    const { id } = await client.batches.create({ ...night, input_file_id: file.id });
    await until(() => engine.jobs.length === 4, "the fourth line");
    await assert.rejects(client.files.delete(file.id), { status: 409 });
    assert.equal((await client.batches.cancel(id)).status, "cancelling");
    const batch = await ended(client, id);
    assert.deepEqual([batch.status, batch.request_counts?.completed], ["cancelled", 3]);
    assert.equal((await linesOf(client, batch.output_file_id!)).length, 3);
    await assert.rejects(client.batches.cancel(id), { status: 409 });
  });

  it("leaves places to others, and works off one batch after the other", async () => {
    const { client, engine, url } = await started(() => {});
    const text = [line("a"), line("b")].join("\n");
    const file = await client.files.create({ file: await toFile(Buffer.from(text), "in.jsonl"), purpose: "batch" });
    const answer = fetch(`${url}${endpoint}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ messages: [{ role: "user", content: "now" }], max_tokens: 1 }),
    });
    await until(() => engine.jobs.length === 1, "the request");
    const { id } = await client.batches.create({ ...night, input_file_id: file.id });
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.equal(engine.jobs.length, 1, "the one place is taken");
    finish(engine.jobs[0]!);
    await (await answer).text();
    await until(() => engine.jobs.length === 2, "the first line");
    finish(engine.jobs[1]!);
    await until(() => engine.jobs.length === 3, "the second line");
    finish(engine.jobs[2]!);
    assert.equal((await ended(client, id)).status, "completed");
  });

  it("is bounded, refuses what is no form, and no name leads out of its folder", async () => {
    const { url, client, dataFolder } = await started(finish, { maxFileBytes: 8192, maxStoredBytes: 6000 });
    const upload = async (body: string, type = "multipart/form-data; boundary=x"): Promise<[number, unknown]> => {
      const response = await fetch(`${url}/v1/files`, { method: "POST", headers: { "content-type": type }, body });
      return [response.status, ((await response.json()) as FailureBody).error?.code ?? "taken"];
    };
    const form = (filename: string, content: string, purpose = "batch"): string =>
      `--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n${purpose}\r\n` +
      `--x\r\ncontent-disposition: form-data; name="file"; filename="${filename}"\r\n\r\n${content}\r\n--x--\r\n`;
    const data = (): string[] => readdirSync(join(dataFolder, "files")).filter((name) => name.includes(".data"));
    assert.deepEqual(await upload(form("../../../etc/passwd", "\r\n--y\r\n-")), [200, "taken"]);
    const [file] = (await client.files.list()).data;
    assert.equal(file!.filename, "../../../etc/passwd");
    assert.equal(await (await client.files.content(file!.id)).text(), "\r\n--y\r\n-");
    assert.deepEqual(await upload(form("e", "")), [200, "taken"]);
    assert.deepEqual(data().length, 2);
    for (const [body, type] of [
      [form("a", "x", "assistants"), undefined],
      [form("a", "x").slice(0, -20), undefined],
      ["--x\r\ncontent-disposition: form-data\r\n\r\nb\r\n--x--", undefined],
      [`--x\r\n${"a: b\r\n".repeat(700)}\r\n\r\nb\r\n--x--`, undefined],
      [`--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n${"p".repeat(5000)}\r\n--x--`, undefined],
      ["--x--", undefined],
      ["{}", "application/json"],
      ["", "multipart/form-data; boundary=x"],
    ] as const)
      assert.equal((await upload(body, type))[0], 400, body.slice(0, 80));
    assert.deepEqual(await upload(form("a", "x".repeat(9000))), [413, "file_too_large"]);
    assert.deepEqual(await upload(form("a", "x".repeat(3500))), [200, "taken"]);
    assert.deepEqual(await upload(form("a", "x".repeat(3500))), [413, "storage_full"]);
    assert.equal(data().length, 3, "nothing is left of those that were refused");
    for (const id of ["../conversations", "file-..%2f..%2fx", "file-0", `file-${"0".repeat(32)}`, "%00"]) {
      for (const path of [`/v1/files/${id}`, `/v1/files/${id}/content`, `/v1/batches/${id}`])
        assert.equal((await fetch(url + path)).status, 404, path);
    }
    await assert.rejects(client.batches.create({ ...night, input_file_id: "file-x" }), { status: 404 });
    const empty = (await client.files.list()).data.find(({ bytes }) => bytes === 0)!;
    const { id } = await client.batches.create({ ...night, input_file_id: empty.id });
    const batch = await ended(client, id);
    assert.deepEqual([batch.status, batch.errors?.data?.[0]?.code], ["failed", "empty_file"]);
  });

  it("answers the lines of a batch for the key it came with", async () => {
    const { url, engine } = await started(finish, { apiKeys: ["one", "two"] });
    const body = { messages: [{ role: "user", content: "say a" }] };
    for (const key of ["one", "two"]) {
      const client = clientOf(url, key);
      await client.chat.completions.create({ model: "any", ...body } as OpenAI.ChatCompletionCreateParams);
      const file = await client.files.create({
        file: await toFile(Buffer.from(line("a")), "a.jsonl"),
        purpose: "batch",
      });
      const { id } = await client.batches.create({ ...night, input_file_id: file.id });
      assert.equal((await ended(client, id)).status, "completed");
    }
    const scopes = engine.jobs.map(({ request }) => request.scope);
    assert.equal(scopes.length, 4);
    assert.deepEqual([scopes[1], scopes[3]], [scopes[0], scopes[2]]);
    assert.notEqual(scopes[0], scopes[2]);
  });

  it("lets a batch rest whose key is gone, and goes on when it is there again", async () => {
    const dataFolder = mkdtempSync(join(testFolder(), "keys-"));
    const serve = (apiKeys: readonly string[], play = finish) => started(play, { apiKeys, dataFolder });
    const before = await serve(["one", "two"], () => {});
    const one = clientOf(before.url, "one");
    const file = await one.files.create({ file: await toFile(Buffer.from(line("a")), "in.jsonl"), purpose: "batch" });
    const { id } = await one.batches.create({ ...night, input_file_id: file.id });
    await until(() => before.engine.jobs.length > 0, "the line is asked");
    await before.server.stop();
    const without = await serve(["two"]);
    const two = clientOf(without.url, "two");
    const own = await two.files.create({ file: await toFile(Buffer.from(line("b")), "in.jsonl"), purpose: "batch" });
    const after = await two.batches.create({ ...night, input_file_id: own.id });
    assert.equal((await ended(two, after.id)).status, "completed");
    assert.equal(without.engine.jobs.length, 1, "the line of the other key was asked");
    await without.server.stop();
    const again = await serve(["one", "two"]);
    assert.equal((await ended(clientOf(again.url, "one"), id)).status, "completed");
  });

  it("shows a file to the key it came with", async () => {
    const { url } = await started(finish, { apiKeys: ["one", "two"] });
    const [one, two] = [clientOf(url, "one"), clientOf(url, "two")];
    const file = await one.files.create({ file: await toFile(Buffer.from(line("a")), "in.jsonl"), purpose: "batch" });
    const { id } = await one.batches.create({ ...night, input_file_id: file.id });
    assert.equal((await ended(one, id)).status, "completed");
    await assert.rejects(two.files.retrieve(file.id), { status: 404 });
    await assert.rejects(two.batches.retrieve(id), { status: 404 });
    await assert.rejects(two.batches.create({ ...night, input_file_id: file.id }), { status: 404 });
    assert.deepEqual([(await two.files.list()).data, (await two.batches.list()).data], [[], []]);
    await assert.rejects(clientOf(url, "three").files.list(), { status: 401 });
  });
});

describe("a server that is killed", { skip: needsThreads }, () => {
  it("goes on with a batch where it was: every line once", async () => {
    const dataFolder = mkdtempSync(join(testFolder(), "killed-"));
    const modelPath = await chatModel();
    const serve = async (): Promise<{ child: ChildProcess; client: OpenAI }> => {
      const child = fork(fileURLToPath(new URL("./soak-server.js", import.meta.url)), [modelPath, dataFolder, "real"], {
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      });
      const { url } = await firstOf<{ url: string }>(child, "message");
      return { child, client: clientOf(url) };
    };
    let { child, client } = await serve();
    const text = Array.from({ length: 24 }, (_, i) => line(`l${i}`, { max_tokens: 20, ignore_eos: true })).join("\n");
    const file = await client.files.create({ file: await toFile(Buffer.from(text), "in.jsonl"), purpose: "batch" });
    const { id } = await client.batches.create({ ...night, input_file_id: file.id });
    const done = async () => (await client.batches.retrieve(id)).request_counts?.completed ?? 0;
    await patiently(async () => (await done()) >= 3, "three answers");
    child.kill("SIGKILL");
    await exited(child);
    assert.ok(existsSync(join(dataFolder, "batches", `${id}.journal`)));
    ({ child, client } = await serve());
    const batch = await ended(client, id);
    assert.deepEqual(batch.request_counts, { total: 24, completed: 24, failed: 0 });
    const ids = (await linesOf(client, batch.output_file_id!)).map(({ custom_id: one }) => String(one));
    assert.deepEqual(ids.sort(), Array.from({ length: 24 }, (_, i) => `l${i}`).sort());
    child.send("stop");
    await exited(child);
  });
});
