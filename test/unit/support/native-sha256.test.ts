import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createSha256 } from '../../../src/support/native-sha256.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'

describe.each([
  ['with the addon', true],
  ['without it', false],
])('SHA-256 of bytes, %s,', (_, isNative) => {
  it('is that of all of them in their order', async () => {
    const hash = createSha256(isNative)
    const expected = createHash('sha256')
    for (let round = 0; round < 5; round++) {
      const pieces = Array.from({ length: 20 }, (_, i) =>
        pseudoRandom((i * 7919 * round) % 700_000, i + round),
      )
      for (const piece of pieces) expected.update(piece)
      await hash.update(pieces)
    }
    await hash.update([])
    expect(Buffer.from(hash.digest()).toString('hex')).toBe(expected.digest('hex'))
  })
})
