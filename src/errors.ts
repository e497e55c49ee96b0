/**
 * Every failure a user can meet is a `HundredweightError`: a stable code for programs, one line for people that names
 * the file, tensor or option, what was expected, what was found and what to do.
 */
export type ErrorCode =
  | "FILE_NOT_FOUND" // a path that does not exist or cannot be opened
  | "FILE_IO" // reading or writing failed (EIO, ENOSPC, permission, a path too long or a ring of links)
  | "FILE_NOT_REGULAR" // a pipe, a device or a socket where a file is needed
  | "PATH_NOT_UTF8" // a path holds bytes that are not UTF-8
  | "FORMAT_UNKNOWN" // not a model file we know
  | "FORMAT_INVALID" // a damaged or hostile file
  | "FORMAT_UNSUPPORTED" // a well-formed file using something we do not support
  | "ARCHITECTURE_UNKNOWN" // general.architecture without a declaration
  | "MODEL_INVALID" // missing tensors, wrong shapes or types, missing metadata
  | "MODEL_CHANGED" // the file changed or shrank while it was in use
  | "ADAPTER_INVALID" // no adapter, or a damaged one
  | "ADAPTER_UNSUPPORTED" // an adapter that is more than pairs beside products, or of something that has none
  | "ADAPTER_MISFIT" // an adapter of another model: architecture, tensors, shapes
  | "TOKENIZER_UNSUPPORTED" // unknown tokenizer model or pre-tokenizer
  | "TOKENIZER_INVALID" // vocabulary does not fit the model or is damaged
  | "TEMPLATE_INVALID" // chat template cannot be parsed or rendered
  | "TEXT_INVALID" // a text that could not be tokenized in time or memory
  | "TEMPLATE_MISSING" // no chat template and --raw not given
  | "CONTEXT_EXCEEDED" // prompt longer than the context
  | "MEMORY_BUDGET" // the model cannot run in the memory budget
  | "OPTION_INVALID" // a wrong option or argument (exit code 2)
  | "CANCELLED" // stopped by the caller
  | "NATIVE_ARGUMENT" // a wrong call into the addon: a bug of ours
  | "NATIVE_UNAVAILABLE" // the addon is needed and cannot be loaded
  | "ENGINE_CLOSED" // use after close
  | "ENGINE_CRASHED" // the process of the engine ended by itself
  | "QUEUE_FULL" // as many jobs wait as may
  | "ADDRESS_IN_USE" // another program listens on the port
  | "NETWORK_FAILED" // another computer cannot be reached, breaks off again and again, or answers nonsense
  | "HUB_REFUSED" // a hub does not give a file: there is none, a token is missing, too many requests
  | "CHECKSUM_WRONG" // what was fetched is not what was announced; it is deleted
  | "QUEUE_REFUSED" // a queue that lets nobody in, or takes no work
  | "QUEUE_MISMATCH" // a batch that wants another model or other options than a machine has
  | "DISK_FULL" // no room for what is to be fetched
  | "CONVERSATION_UNKNOWN" // no conversation, message or model of this name on the page's server
  | "CONVERSATION_LIMIT" // a conversation too large, or too many of them
  | "SESSION_MISFIT" // a session of another model, adapter or KV type
  | "INTERNAL"; // a bug of ours

export class HundredweightError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "HundredweightError";
    this.code = code;
    this.details = details;
  }
}

/** Turns the system's error about a file that was to be opened or read into FILE_NOT_FOUND or FILE_IO. */
export function fileError(path: string, cause: unknown): HundredweightError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === "ERR_INVALID_ARG_VALUE")
    return new HundredweightError("FILE_NOT_FOUND", "the path holds a zero byte", {}, { cause });
  if (code === "ENOENT" || code === "ENOTDIR")
    return new HundredweightError("FILE_NOT_FOUND", `${path}: no such file`, { path }, { cause });
  const reason = code === "EISDIR" ? "is a folder" : `cannot be read: ${message ?? String(cause)}`;
  return new HundredweightError("FILE_IO", `${path}: ${reason}`, { path }, { cause });
}

/**
 * Wraps what is not ours yet, so that callers see one error type only. What the system says of a path (ELOOP,
 * ENAMETOOLONG, EACCES ...) is never a bug of ours, wherever it was opened.
 */
export function asHundredweightError(error: unknown, code: ErrorCode = "INTERNAL"): HundredweightError {
  if (error instanceof HundredweightError) return error;
  if (code === "INTERNAL" && isPathError(error)) return fileError(error.path, error);
  const message = error instanceof Error ? error.message : String(error);
  return new HundredweightError(code, message, {}, { cause: error });
}

/** Node's error about a path that the system refused. */
function isPathError(error: unknown): error is NodeJS.ErrnoException & { readonly path: string } {
  if (!(error instanceof Error)) return false;
  const { errno, syscall, path } = error as NodeJS.ErrnoException;
  return typeof errno === "number" && typeof syscall === "string" && typeof path === "string" && fileCalls.has(syscall);
}

/** System calls about files; those that start programs and speak to sockets have paths, too. */
const fileCalls = new Set(
  (
    "open stat lstat access read write scandir mkdir unlink rmdir rename link symlink readlink realpath " +
    "copyfile ftruncate"
  ).split(" "),
);
