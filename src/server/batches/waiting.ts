/** Whether a server that starts has batches to go on with. */
import { join } from "node:path";
import { type BatchRecord, isUnfinished } from "./batch-record.js";
import { Records } from "./records.js";

/** @param folder of the server's data */
export function batchRecords(folder: string): Records<BatchRecord> {
  return new Records<BatchRecord>(join(folder, "batches"), "batch_");
}

export function batchesWait(folder: string): boolean {
  return batchRecords(folder).list().some(isUnfinished);
}
