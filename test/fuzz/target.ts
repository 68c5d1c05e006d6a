/**
 * What is fuzzed. A target takes any bytes and returns what became of them in a few words: two inputs that fare alike have
 * the same words, so a new text is the sign of an input worth keeping. It throws for what must not happen; errors that a
 * parser may throw (StoreError) it turns into words.
 */
export interface Target {
  run(input: Uint8Array): string | Promise<string>
  /** What the format is made of. */
  readonly words: readonly Uint8Array[]
  readonly seeds: () => Uint8Array[]
}

/** A rule that was broken by the code and not by the input. */
export class FuzzFailure extends Error {
  override readonly name = 'FuzzFailure'
}

export function check(holds: boolean, promise: string): void {
  if (!holds) throw new FuzzFailure(`broken promise: ${promise}`)
}
