/** A batch as it is kept, and as clients see it. */
import type { batchUrls } from "../../batch/request.js";

export const unfinished = ["validating", "in_progress", "finalizing", "cancelling"] as const;

export type BatchStatus = (typeof unfinished)[number] | "completed" | "failed" | "cancelled";

/** Statuses that have a time stamp of their own. */
type Stamped = Exclude<BatchStatus, "validating">;

export interface BatchRecord {
  readonly id: string;
  /** Digest of the key it came with; only that key sees it. */
  readonly owner: string;
  readonly endpoint: (typeof batchUrls)[number];
  readonly inputFileId: string;
  readonly window: string;
  readonly metadata: Readonly<Record<string, string>> | null;
  /** Seconds since 1970. */
  readonly createdAt: number;
  status: BatchStatus;
  times: Partial<Record<Stamped, number>>;
  outputFileId?: string;
  errorFileId?: string;
  counts: { total: number; completed: number; failed: number };
  errors?: readonly { readonly code: string; readonly message: string }[];
}

export function isUnfinished({ status }: BatchRecord): boolean {
  return (unfinished as readonly string[]).includes(status);
}

/** OpenAI's object. */
export function batchObject(record: BatchRecord): object {
  const { times, errors } = record;
  return {
    id: record.id,
    object: "batch",
    endpoint: record.endpoint,
    errors:
      errors === undefined
        ? null
        : { object: "list", data: errors.map((error) => ({ ...error, line: null, param: null })) },
    input_file_id: record.inputFileId,
    completion_window: record.window,
    status: record.status,
    output_file_id: record.outputFileId ?? null,
    error_file_id: record.errorFileId ?? null,
    created_at: record.createdAt,
    in_progress_at: times.in_progress ?? null,
    expires_at: null,
    finalizing_at: times.finalizing ?? null,
    completed_at: times.completed ?? null,
    failed_at: times.failed ?? null,
    expired_at: null,
    cancelling_at: times.cancelling ?? null,
    cancelled_at: times.cancelled ?? null,
    request_counts: record.counts,
    metadata: record.metadata,
  };
}
