/** Files beside the weights that are read whole: configurations, templates, vocabularies. */
import { closeSync, existsSync, fstatSync, readSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import { openRegularSync } from "../regular-file.js";
import { type JsonObject, JsonReader } from "./json-reader.js";

/** @throws FILE_NOT_FOUND, FILE_NOT_REGULAR, FILE_IO; FORMAT_INVALID for more than `mostBytes` */
export function readSmallFile(path: string, mostBytes: number): Uint8Array {
  const fd = openRegularSync(path);
  try {
    const { size } = fstatSync(fd);
    if (size > mostBytes)
      throw new HundredweightError("FORMAT_INVALID", `${path}: has ${size} bytes, more than the limit of ${mostBytes}`);
    const bytes = new Uint8Array(size);
    let done = 0;
    while (done < size) {
      const got = readSync(fd, bytes, done, size - done, done);
      if (got === 0) throw new HundredweightError("MODEL_CHANGED", `${path}: became shorter while it was read`);
      done += got;
    }
    return bytes;
  } finally {
    closeSync(fd);
  }
}

/** A JSON object; undefined where there is no such file.  @throws FORMAT_INVALID, FILE_* */
export function readJsonFile(path: string, mostBytes: number): JsonObject | undefined {
  if (!existsSync(path)) return undefined;
  const reader = new JsonReader(readSmallFile(path, mostBytes), path);
  if (reader.kind() !== "object") throw reader.invalid("expected an object");
  const value = reader.value() as JsonObject;
  reader.end();
  return value;
}
