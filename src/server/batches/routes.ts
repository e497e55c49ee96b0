/** `/v1/files` and `/v1/batches`: work for a night, in OpenAI's shapes. */
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { Context, Hono } from "hono";
import type { Routes } from "../../batch/line-answer.js";
import { readJson } from "../http/body.js";
import { HttpError, wrongField } from "../http/http-error.js";
import { readForm } from "../http/multipart.js";
import { bothPaths } from "../http/paths.js";
import { ownerOf } from "../http/security.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import { type BatchRecord, batchObject, isUnfinished } from "./batch-record.js";
import { type FileInTheMaking, FileStore, type StoredFile } from "./file-store.js";
import { batchSchema } from "./request.js";
import { BatchRunner } from "./runner.js";
import { batchRecords } from "./waiting.js";

const maxFiles = 1000;
const maxBatches = 1000;
const maxLines = 50_000;

/** @param folder of the server's data; @param routes those of the server, by which lines are answered */
export function batchRoutes(app: Hono, context: ServerContext, folder: string, routes: Routes): void {
  const { config } = context;
  const files = new FileStore(join(folder, "files"), { maxFiles, maxBytes: config.maxStoredBytes });
  const records = batchRecords(folder);
  const runner = new BatchRunner({
    records,
    files,
    routes,
    context,
    maxOutputBytes: config.maxStoredBytes,
    maxLines,
  });
  context.lastly.add(() => runner.end());
  const own = (c: Context): string => ownerOf(c, config);
  fileRoutes(app, context, files, own, (id) =>
    runner.list().some((one) => one.inputFileId === id && isUnfinished(one)),
  );

  const found = (c: Context): BatchRecord => {
    const record = runner.get(c.req.param("id") ?? "");
    if (record !== undefined && record.owner === own(c)) return record;
    throw notFound("batch");
  };

  app.on("POST", bothPaths("/batches"), async (c) => {
    const { value, unknown } = validate(batchSchema, await readJson(c, config));
    const warnings = new Warnings();
    warnings.unknown(unknown);
    const owner = own(c);
    const input = files.get(value.input_file_id, owner);
    if (input?.purpose !== "batch") {
      const what = input === undefined ? "there is no such file" : "the file's purpose is not 'batch'";
      throw new HttpError(404, `input_file_id: ${what}`, { param: "input_file_id", code: "not_found" });
    }
    if (records.list().length >= maxBatches)
      throw new HttpError(413, `there are ${maxBatches} batches already`, { code: "too_many_batches" });
    const record: BatchRecord = {
      id: records.newId(),
      owner,
      endpoint: value.endpoint,
      inputFileId: input.id,
      window: value.completion_window,
      metadata: value.metadata ?? null,
      createdAt: Math.floor(Date.now() / 1000),
      status: "validating",
      times: {},
      counts: { total: 0, completed: 0, failed: 0 },
    };
    records.put(record);
    runner.kick();
    warnings.apply(c);
    return c.json(batchObject(record));
  });

  app.on("GET", bothPaths("/batches"), (c) => {
    const list = runner.list().filter(({ owner }) => owner === own(c));
    list.sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));
    return c.json(page(c, list, batchObject));
  });

  app.on("GET", bothPaths("/batches/:id"), (c) => c.json(batchObject(found(c))));

  app.on("POST", bothPaths("/batches/:id/cancel"), (c) => {
    const record = found(c);
    if (!isUnfinished(record))
      throw new HttpError(409, `the batch is ${record.status} already`, { code: "batch_finished" });
    if (record.status !== "cancelling") runner.cancel(record);
    return c.json(batchObject(record));
  });
}

function fileRoutes(
  app: Hono,
  { config }: ServerContext,
  files: FileStore,
  own: (c: Context) => string,
  isUsed: (id: string) => boolean,
): void {
  const found = (c: Context): StoredFile => {
    const file = files.get(c.req.param("id") ?? "", own(c));
    if (file === undefined) throw notFound("file");
    return file;
  };

  app.on("POST", bothPaths("/files"), async (c) => {
    let making: FileInTheMaking | undefined;
    let filename = "";
    try {
      const fields = await readForm(c, {
        maxBytes: config.maxFileBytes,
        onFile: (name, given) => {
          if (name !== "file" || making !== undefined) throw wrongField("file", "file: one file is expected");
          const begun = files.begin();
          making = begun;
          // A name is told again and never used.
          filename = given.replace(/[^\x20-\x7e]/g, "?").slice(0, 255);
          return async (bytes) => begun.write(bytes);
        },
      });
      if (making === undefined) throw wrongField("file", "file: is missing");
      const purpose = fields.get("purpose");
      if (purpose !== "batch") throw wrongField("purpose", "purpose: only 'batch' is supported");
      return c.json(fileObject(making.keep({ owner: own(c), filename, purpose })));
    } finally {
      making?.drop();
    }
  });

  app.on("GET", bothPaths("/files"), (c) => {
    const purpose = c.req.query("purpose");
    const list = files.list(own(c)).filter((file) => purpose === undefined || file.purpose === purpose);
    return c.json(page(c, list, fileObject));
  });

  app.on("GET", bothPaths("/files/:id"), (c) => c.json(fileObject(found(c))));

  app.on("GET", bothPaths("/files/:id/content"), (c) => {
    const file = found(c);
    const stream = Readable.toWeb(createReadStream(files.pathOf(file))) as ReadableStream<Uint8Array>;
    return c.body(stream, 200, {
      "content-type": "application/octet-stream",
      "content-length": String(file.bytes),
    });
  });

  app.on("DELETE", bothPaths("/files/:id"), (c) => {
    const file = found(c);
    if (isUsed(file.id)) throw new HttpError(409, "a batch reads this file", { code: "file_in_use" });
    files.remove(file);
    return c.json({ id: file.id, object: "file", deleted: true });
  });
}

function fileObject({ id, bytes, createdAt, filename, purpose }: StoredFile): object {
  return { id, object: "file", bytes, created_at: createdAt, filename, purpose, status: "processed" };
}

/** A part of a list: `limit` behind `after`. @throws HttpError 400 */
function page<T extends { readonly id: string }>(c: Context, list: readonly T[], shape: (one: T) => object): object {
  const limit = Number(c.req.query("limit") ?? 20);
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) throw wrongField("limit", "limit: from 1 to 10000");
  const after = c.req.query("after");
  const from = after === undefined ? 0 : list.findIndex(({ id }) => id === after) + 1;
  const shown = list.slice(from, from + limit);
  return {
    object: "list",
    data: shown.map(shape),
    first_id: shown[0]?.id ?? null,
    last_id: shown.at(-1)?.id ?? null,
    has_more: from + limit < list.length,
  };
}

function notFound(what: string): HttpError {
  return new HttpError(404, `there is no such ${what}`, { param: "id", code: "not_found" });
}
