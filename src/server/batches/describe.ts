/** The routes of files and batches, for `/openapi.json`. */
import { z } from "zod";
import { batchUrls } from "../../batch/request.js";
import { count, type RouteDescription } from "../http/description.js";
import { batchSchema } from "./request.js";

const loose = z.looseObject;

const fileAnswer = loose({
  id: z.string(),
  object: z.literal("file"),
  bytes: count,
  created_at: count,
  filename: z.string(),
  purpose: z.enum(["batch", "batch_output"]),
  status: z.literal("processed"),
});

const id = z.string().nullable();
const time = count.nullable();

const batchAnswer = loose({
  id: z.string(),
  object: z.literal("batch"),
  endpoint: z.enum(batchUrls),
  errors: loose({
    object: z.literal("list"),
    data: z.array(loose({ code: z.string(), message: z.string() })),
  }).nullable(),
  input_file_id: z.string(),
  completion_window: z.string(),
  status: z.enum(["validating", "in_progress", "finalizing", "cancelling", "completed", "failed", "cancelled"]),
  output_file_id: id,
  error_file_id: id,
  created_at: count,
  completed_at: time,
  request_counts: loose({ total: count, completed: count, failed: count }),
  metadata: z.record(z.string(), z.string()).nullable(),
});

const listOf = (one: z.ZodType) =>
  loose({ object: z.literal("list"), data: z.array(one), first_id: id, last_id: id, has_more: z.boolean() });

const form = z.object({
  file: z.string().meta({ format: "binary" }).describe("The lines."),
  purpose: z.literal("batch"),
});
const deleted = loose({ id: z.string(), object: z.literal("file"), deleted: z.literal(true) });

type Row = readonly [
  method: RouteDescription["method"],
  path: string,
  summary: string,
  answer?: z.ZodType | undefined,
  how?: object,
];

const rows: readonly Row[] = [
  ["post", "/v1/files", "Leave a file for a batch", fileAnswer, { body: form, form: true }],
  ["get", "/v1/files", "The files that are there, newest first", listOf(fileAnswer)],
  ["get", "/v1/files/{id}", "A file", fileAnswer],
  ["delete", "/v1/files/{id}", "Delete a file", deleted],
  ["get", "/v1/files/{id}/content", "What is in a file", undefined, { bytes: "application/octet-stream" }],
  ["post", "/v1/batches", "Have a file answered, line by line", batchAnswer, { body: batchSchema }],
  ["get", "/v1/batches", "The batches that are there, newest first", listOf(batchAnswer)],
  ["get", "/v1/batches/{id}", "How far a batch is", batchAnswer],
  ["post", "/v1/batches/{id}/cancel", "End a batch with the answers that are there", batchAnswer],
];

export const batchDescriptions: readonly RouteDescription[] = rows.map(([method, path, summary, answer, how]) => ({
  method,
  path,
  summary,
  modelless: true,
  ...(answer !== undefined && { answer }),
  ...how,
}));
