import { describe, expect, it } from 'vitest'
import type { PathInfoService } from '../../../../src/services/pathinfos/interface.ts'
import { memoryPathInfoService } from '../../../../src/services/pathinfos/memory.ts'
import { verifyingPathInfoService } from '../../../../src/services/pathinfos/verifying.ts'
import { makePathInfo } from '../../../support/path-infos.ts'

const ONE = makePathInfo('one')
const TWO = makePathInfo('two')

function answering(answers: Partial<PathInfoService>): PathInfoService {
  return verifyingPathInfoService(Object.assign(memoryPathInfoService(), answers), 'the peer')
}

describe('verifying path infos', () => {
  it('refuses the path info of another path', async () => {
    await expect(answering({ get: async () => TWO }).get(ONE.storePath.digest)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringMatching(/the peer: asked for the path info of .*, but got that of .*path-two/),
    })
    await expect(answering({ put: async () => TWO }).put(ONE)).rejects.toMatchObject({ code: 'corrupt' })
  })

  it('lets signatures be added', async () => {
    const signed = { ...ONE, signatures: [{ keyName: 'k-1', bytes: Buffer.alloc(64) }] }
    expect(await answering({ put: async () => signed }).put(ONE)).toBe(signed)
  })

  it('passes absence on', async () => {
    expect(await answering({}).get(ONE.storePath.digest)).toBeUndefined()
  })
})
