/** The server room: an OpenAI-compatible HTTP server for one model. */
export { defaultConfig, type ServerConfig } from "./http/config.js";
export { type OfflineOptions, type OfflineServer, openOffline } from "./offline.js";
export { type RunningServer, type StartOptions, startServer } from "./server.js";
export type { ServerContext } from "./service/context.js";
export type { MachineEvent, MemoryNow, PageState, PlanSummary, Sample } from "./ui/wire.js";
