/** Seconds since `key` changed, counted once a second. */
import { useEffect, useState } from "preact/hooks";

export function useSecondsSince(key: unknown): number {
  const [since, setSince] = useState(0);
  useEffect(() => {
    const began = performance.now();
    setSince(0);
    const timer = setInterval(() => setSince((performance.now() - began) / 1000), 1000);
    return () => clearInterval(timer);
  }, [key]);
  return since;
}
