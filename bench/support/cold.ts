/** A cold start: what the page cache holds of a file is dropped. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";

/**
 * How it was done; "warm" where neither root's switch nor `dd` is there.
 * @param what `file`: others of this machine keep what they have read
 */
export function dropFromCache(path: string, what: "all" | "file" = "all"): "all dropped" | "file dropped" | "warm" {
  spawnSync("sync");
  try {
    if (what === "file") throw new Error("only the file");
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    return "all dropped";
  } catch {
    // GNU dd asks the system to forget a file (posix_fadvise) when it copies nothing of it.
    const { status } = spawnSync("dd", [`if=${path}`, "iflag=nocache", "count=0"], { stdio: "ignore" });
    return status === 0 ? "file dropped" : "warm";
  }
}
