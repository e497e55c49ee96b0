/** State outside components, and a hook to look at it. */
import { useEffect, useRef, useState } from "preact/hooks";

export class Store<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set(change: T | ((before: T) => T)): void {
    const value = change instanceof Function ? change(this.#value) : change;
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Renders again when what `select` gives is another value. */
export function useStore<T, S = T>(store: Store<T>, select: (value: T) => S = (value) => value as unknown as S): S {
  const selected = select(store.value);
  const latest = useRef({ select, selected });
  latest.current = { select, selected };
  const [, render] = useState({});
  useEffect(() => {
    const look = () => {
      if (!Object.is(latest.current.select(store.value), latest.current.selected)) render({});
    };
    look(); // it may have changed between render and effect
    return store.subscribe(look);
  }, [store]);
  return selected;
}
