import { ValidationError } from '../../src/model/castore/validation-error.ts'

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

/** Of a stack: a message is often made by a function for it. */
const FRAMES = 4

/** A rule that was broken by the code and not by the input. */
export class FuzzFailure extends Error {
  override readonly name = 'FuzzFailure'
}

export function check(holds: boolean, promise: string): void {
  if (!holds) throw new FuzzFailure(`broken promise: ${promise}`)
}

/** What `parse` gives, or how it refused; anything but a ValidationError passes. */
export function refusal<T>(
  parse: () => T,
): { readonly value: T } | { readonly words: string; readonly place: string } {
  try {
    return { value: parse() }
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    // Without what is taken from the input; else every input would be news.
    const message = error.message.replace(/".*"/gs, '""').replace(/[0-9]+/g, '#')
    const words = `${error.variant.replace(/[0-9]+/g, '#')}: ${message.split(' ').slice(0, 9).join(' ')}`
    return { words, place: placeOf(error) }
  }
}

/** Where an error was made, for texts that repeat too much of their input to tell outcomes apart. */
export function placeOf(error: Error): string {
  const frames = (error.stack ?? '').split('\n').filter((line) => line.startsWith('    at '))
  return frames
    .slice(0, FRAMES)
    .map((frame) => /[^/]*\.ts:[0-9]+/.exec(frame)?.[0])
    .join(' ')
}
