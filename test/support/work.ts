/** How much was done, whatever else the machine does. */

/** Milliseconds of work of this process: a busy machine stretches the clock, not these. */
export function workMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
