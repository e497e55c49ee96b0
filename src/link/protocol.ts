/**
 * Messages between an engine and its client, in one thread or in two, in one process or in two. What jobs and options
 * are is the engine's to say; they are exported again for those who know the engine by its client only.
 */
import type { JobRequest, JobResult } from "../engine/jobs.js";
import type { EngineOptions, ModelInfo } from "../engine/options.js";
import type { WireError } from "../process/wire.js";
import type { Parcel } from "./parcels.js";

export type * from "../engine/jobs.js";
export type * from "../engine/options.js";

export type ToEngine =
  | { readonly type: "open"; readonly path: string; readonly options: EngineOptions; readonly stop: Int32Array }
  | { readonly type: "submit"; readonly job: number; readonly request: JobRequest }
  | { readonly type: "cancel"; readonly job: number }
  /** A paused job keeps what it has and takes part in no pass. */
  | { readonly type: "pause" | "resume"; readonly job: number }
  /** Answered when its thread gets to it. */
  | { readonly type: "ping" }
  | { readonly type: "close" };

export type FromEngine =
  | { readonly type: "opened"; readonly info: ModelInfo }
  /** Opening gets on; counted are weights that are read into memory. */
  | { readonly type: "loading"; readonly loadedBytes: number; readonly totalBytes: number }
  | { readonly type: "openFailed"; readonly error: WireError }
  /** Events of a pass, in order: a message costs as much as a row of a small model. */
  | { readonly type: "events"; readonly events: readonly Parcel[] }
  | { readonly type: "done"; readonly job: number; readonly result: JobResult }
  | { readonly type: "failed"; readonly job: number; readonly error: WireError }
  | { readonly type: "pong" }
  /** While there is work, every second: it got on, or it waits for the disk, or neither (then nothing is sent). */
  | { readonly type: "alive"; readonly reading: boolean }
  | { readonly type: "closed" };
