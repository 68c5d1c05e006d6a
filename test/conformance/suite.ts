import { describe, it } from 'vitest'

/** One promise of an interface, to be run against a fresh implementation. It throws when the promise is broken. */
export interface Case<S> {
  readonly title: string
  run(subject: S): Promise<void>
}

/** A fresh implementation and what it takes to clean up after it. */
export interface Subject<S> extends AsyncDisposable {
  readonly subject: S
}

export type Make<S> = () => Promise<Subject<S>>

/** For implementations that leave nothing behind. */
export function nothingToClean<S>(make: () => S): Make<S> {
  return async () => ({ subject: make(), [Symbol.asyncDispose]: async () => {} })
}

/** Declares a test for every case, each with an implementation of its own. */
export function runCases<S>(name: string, cases: readonly Case<S>[], make: Make<S>): void {
  describe(name, () => {
    for (const { title, run } of cases)
      it.concurrent(title, async () => {
        await using made = await make()
        await run(made.subject)
      })
  })
}

/**
 * The titles of the cases that an implementation breaks, for negative controls. One that hangs in a case for
 * longer than `patienceMs` breaks it.
 */
export async function brokenCases<S>(
  cases: readonly Case<S>[],
  make: Make<S>,
  patienceMs = 2_000,
): Promise<string[]> {
  const verdicts = cases.map(async ({ title, run }) => {
    await using made = await make()
    const kept = run(made.subject).then(
      () => true,
      () => false,
    )
    return (await Promise.race([kept, expires(patienceMs)])) ? [] : [title]
  })
  return (await Promise.all(verdicts)).flat()
}

function expires(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), ms).unref())
}
