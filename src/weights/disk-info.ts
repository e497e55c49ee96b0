/** On what a path lies: file system, device, spinning or not. Linux only; elsewhere nothing is known. */
import { existsSync, readFileSync, realpathSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";

export interface DiskInfo {
  readonly path: string;
  readonly fileSystem: string | undefined;
  readonly mountPoint: string | undefined;
  readonly device: string | undefined;
  /** `nvme`, `ssd`, `hdd`, `virtual`, `memory`, `network` or unknown. */
  readonly kind: "nvme" | "ssd" | "hdd" | "virtual" | "memory" | "network" | "unknown";
  readonly freeBytes: number;
  readonly totalBytes: number;
}

const inMemory = new Set(["tmpfs", "ramfs"]);
const overNetwork = new Set(["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "fuse.sshfs", "ceph", "glusterfs"]);

export function diskInfo(path: string, root?: string): DiskInfo {
  const real = existsSync(path) ? realpathSync(path) : path;
  const stats = statfsSync(existsSync(real) ? real : dirname(real));
  const mount = mountOf(real, root);
  return {
    path: real,
    fileSystem: mount?.fileSystem,
    mountPoint: mount?.point,
    device: mount?.source,
    kind: mount === undefined ? "unknown" : kindOf(mount, root ?? "/"),
    freeBytes: stats.bavail * stats.bsize,
    totalBytes: stats.blocks * stats.bsize,
  };
}

interface Mount {
  readonly point: string;
  readonly numbers: string;
  readonly fileSystem: string;
  readonly source: string;
}

/** Only Linux has such a table. */
function mountOf(path: string, root = process.platform === "linux" ? "/" : undefined): Mount | undefined {
  return root === undefined ? undefined : findMount(path, read(join(root, "proc/self/mountinfo")) ?? "");
}

/** The longest mount point that holds the path; of equal ones the later, which covers the earlier. */
function findMount(path: string, table: string): Mount | undefined {
  let best: Mount | undefined;
  for (const line of table.split("\n")) {
    const [left, right] = line.split(" - ");
    const [, , numbers, , point] = (left ?? "").split(" ");
    const [fileSystem, source] = (right ?? "").split(" ");
    if (numbers === undefined || point === undefined || fileSystem === undefined || source === undefined) continue;
    const folder = point.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
    const holds = folder === "/" || path === folder || path.startsWith(`${folder}/`);
    if (holds && (best === undefined || folder.length >= best.point.length)) {
      best = { point: folder, numbers, fileSystem, source };
    }
  }
  return best;
}

function kindOf(mount: Mount, root: string): DiskInfo["kind"] {
  if (inMemory.has(mount.fileSystem)) return "memory";
  if (overNetwork.has(mount.fileSystem)) return "network";
  const device = mount.source.replace(/^\/dev\//, "");
  if (/^nvme/.test(device)) return "nvme";
  if (/^(vd|xvd)/.test(device)) return "virtual";
  const block = join(root, "sys/dev/block", mount.numbers);
  // A partition has no queue of its own: its parent has.
  const rotational = read(join(block, "queue/rotational")) ?? read(join(block, "../queue/rotational"));
  if (rotational === undefined) return "unknown";
  return rotational.trim() === "1" ? "hdd" : "ssd";
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
