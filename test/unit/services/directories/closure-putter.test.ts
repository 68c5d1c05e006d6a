import { describe, expect, it } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { Directory } from '../../../../src/model/castore/directory.ts'
import { type Closure, closurePutter } from '../../../../src/services/directories/closure-putter.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { DIRECTORY_BYTES_MAX } from '../../../../src/support/limits.ts'
import { entry, vectorDirectory } from '../../../support/directories.ts'

const A = vectorDirectory('A')
const C = vectorDirectory('C')
const BROKEN = vectorDirectory('BROKEN_PARENT_DIRECTORY')

describe('the collecting putter', () => {
  it('hands over each directory once, with the root', async () => {
    const closures: Closure[] = []
    const putter = closurePutter(async (closure) => void closures.push(closure))
    for (const directory of [A, A, C]) await putter.put(directory)
    expect((await putter.close()).hex).toBe(C.digest.hex)
    expect(closures).toHaveLength(1)
    expect(closures[0]!.leavesToRoot.map(({ digest }) => digest.hex)).toEqual([A.digest.hex, C.digest.hex])
  })

  it('stores once, and gives the same digest again, when it is closed twice', async () => {
    let stored = 0
    const putter = closurePutter(async () => void stored++)
    await putter.put(A)
    expect((await putter.close()).hex).toBe((await putter.close()).hex)
    expect(stored).toBe(1)
  })

  it('stores nothing after a refused put, and says why again', async () => {
    let stored = 0
    const putter = closurePutter(async () => void stored++)
    await putter.put(A)
    await expect(putter.put(BROKEN)).rejects.toMatchObject({ variant: 'WrongSize' })
    await expect(putter.put(C)).rejects.toMatchObject({ variant: 'WrongSize' })
    await expect(putter.close()).rejects.toMatchObject({ variant: 'WrongSize' })
    expect(stored).toBe(0)
  })

  it('takes nothing after it was closed', async () => {
    const putter = closurePutter(async () => {})
    await putter.put(A)
    await putter.close()
    await expect(putter.put(C)).rejects.toMatchObject({ code: 'precondition' })
  })

  it('refuses a directory that could not be read back', async () => {
    const digest = Digest.of(utf8('x'))
    const count = Math.ceil(DIRECTORY_BYTES_MAX / 280)
    const huge = Directory.from(
      Array.from({ length: count }, (_, i) =>
        entry(utf8(String(i).padEnd(255, 'x')), { kind: 'file', digest, size: 1n, executable: false }),
      ),
    )
    await expect(closurePutter(async () => {}).put(huge)).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining(`${DIRECTORY_BYTES_MAX}`),
    })
  })
})
