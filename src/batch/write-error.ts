/** Turns the system's error about an output file into one of ours that names the file. */
import { HundredweightError } from "../errors.js";

/** @throws FILE_IO for whatever `act` throws that is not ours */
export function writing<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw writeError(path, error);
  }
}

export function writeError(path: string, error: unknown): HundredweightError {
  if (error instanceof HundredweightError) return error;
  const { message } = error as NodeJS.ErrnoException;
  return new HundredweightError("FILE_IO", `${path} cannot be written: ${message}`, { path }, { cause: error });
}
