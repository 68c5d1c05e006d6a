import type { Soon } from './interface.ts'

/** Goes on with a value: at once when it is there, so that the hot path makes no promise. */
export function whenReady<T, R>(value: Soon<T>, next: (value: T) => Soon<R>): Soon<R> {
  return value instanceof Promise ? value.then(next) : next(value)
}
