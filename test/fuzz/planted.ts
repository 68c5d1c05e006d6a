/** Bugs that the fuzzer must find: the NAR target with something wrong in it. */
import { NarParser } from '../../src/model/nar/parser.ts'
import { StoreError } from '../../src/support/errors.ts'
import { FuzzFailure, type Target } from './target.ts'
import { TARGETS as REAL } from './targets.ts'

const PLANTED_NAME = 'm'.charCodeAt(0)

/** Calls `found` when the NAR has an entry of a name that no seed has, in a place where its order is right. */
function planted(found: () => void): Target {
  const nar = REAL['nar']!
  const look = (input: Uint8Array) => {
    for (const event of new NarParser().push(input))
      if (event.type === 'entry' && event.name.length === 1 && event.name[0] === PLANTED_NAME) found()
  }
  return {
    ...nar,
    run(input) {
      const outcome = nar.run(input)
      try {
        look(input)
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
      }
      return outcome
    },
  }
}

const hoard: number[][] = []

export const TARGETS: Readonly<Record<string, Target>> = {
  crash: planted(() => {
    throw new RangeError('planted')
  }),
  wrong: planted(() => {
    throw new FuzzFailure('broken promise: planted')
  }),
  hang: planted(() => {
    for (;;);
  }),
  memory: {
    ...REAL['nar']!,
    run(input) {
      hoard.push(new Array(100_000).fill(hoard.length))
      return REAL['nar']!.run(input)
    },
  },
}
