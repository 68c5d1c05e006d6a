/**
 * Milliseconds on a clock that never goes back, for measuring. Not `performance.now()` where every start of the program comes by: the
 * first use of it loads nine modules of Node, which takes longer than opening a database.
 */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e3 + nanoseconds / 1e6
}
