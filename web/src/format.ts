/** Numbers for people. */

/** 1.5 GiB; with three figures. */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let amount = value;
  while (amount >= 999.5 && unit < units.length - 1) {
    amount /= 1024;
    unit++;
  }
  return `${figures(amount)} ${units[unit]}`;
}

/** Three figures: 0.25, 12.5, 340. */
export function figures(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 99.95) return Math.round(value).toLocaleString("en-US");
  if (size >= 9.995) return value.toFixed(1);
  if (size >= 0.00995) return value.toFixed(2);
  return value.toPrecision(1);
}

/** "about 40 s", "about 3 min", "about 2 h 10 min". */
export function about(seconds: number): string {
  if (seconds < 1.5) return "about a second";
  if (seconds < 10) return `about ${Math.round(seconds)} s`;
  if (seconds < 90) return `about ${Math.round(seconds / 5) * 5} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.round((seconds % 3600) / 600) * 10;
  return minutes === 0
    ? `about ${hours} h`
    : minutes === 60
      ? `about ${hours + 1} h`
      : `about ${hours} h ${minutes} min`;
}

/** "8 s", "2 min 13 s", "1 h 4 min": a time that goes on, or is over. */
export function clock(seconds: number): string {
  const whole = Math.round(seconds);
  if (seconds < 9.95) return `${figures(Math.max(0, seconds))} s`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 === 0 ? `${whole / 60} min` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.floor((whole % 3600) / 60);
  return minutes === 0 ? `${Math.floor(whole / 3600)} h` : `${Math.floor(whole / 3600)} h ${minutes} min`;
}

/** 1,130 */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** "one token", "12 tokens". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${Math.round(value) === 1 ? one : many}`;
}

/** The speed of a model: tokens/s, or s/token when that says more. */
export function speed(secondsPerToken: number): string {
  return secondsPerToken >= 1 ? `${figures(secondsPerToken)} s/token` : `${figures(1 / secondsPerToken)} tokens/s`;
}

export function duration(ms: number): string {
  return ms < 1000
    ? `${Math.round(ms)} ms`
    : ms < 90_000
      ? `${figures(ms / 1000)} s`
      : `${Math.round(ms / 60_000)} min`;
}

/** Parameters of a model: 135M, 7.2B. */
export function parameters(count: number): string {
  for (const [size, unit] of [
    [1e12, "T"],
    [1e9, "B"],
    [1e6, "M"],
  ] as const)
    if (count >= size) return `${(count / size).toFixed(count / size < 10 ? 1 : 0)}${unit}`;
  return String(count);
}

export function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/** Groups of a list of conversations. */
export function age(iso: string, now = new Date()): string {
  const days = Math.floor((startOfDay(now) - startOfDay(new Date(iso))) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days < 7) return "Last 7 days";
  if (days < 30) return "Last 30 days";
  return "Older";
}

const startOfDay = (date: Date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
