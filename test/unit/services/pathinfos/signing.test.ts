import { describe, expect, it } from 'vitest'
import { fingerprint } from '../../../../src/model/nix/fingerprint.ts'
import { memoryPathInfoService } from '../../../../src/services/pathinfos/memory.ts'
import { signed, signingPathInfoService } from '../../../../src/services/pathinfos/signing.ts'
import { makePathInfo } from '../../../support/path-infos.ts'
import { makeSigningKey } from '../../../support/signing-keys.ts'

const [A, B] = [makeSigningKey('a-1'), makeSigningKey('b-1')]
const ONE = makePathInfo('one', { signatures: [] })
const FOREIGN = { keyName: 'foreign-1', bytes: Buffer.alloc(64, 7) }
const OUTDATED = { keyName: 'a-1', bytes: Buffer.alloc(64, 9) }

const names = ({ signatures }: { signatures: readonly { keyName: string }[] }) =>
  signatures.map(({ keyName }) => keyName)

describe('signing path infos', () => {
  it('adds a valid signature of every key to what is stored', async () => {
    const base = memoryPathInfoService()
    const stored = await signingPathInfoService(base, [A, B]).put(ONE)
    expect(names(stored)).toEqual(['a-1', 'b-1'])
    for (const [index, key] of [A, B].entries())
      expect(key.verifyingKey.verify(fingerprint(stored), stored.signatures[index]!)).toBe(true)
    expect(await base.get(ONE.storePath.digest)).toEqual(stored)
  })

  it('keeps the signatures of others', () => {
    const both = signed({ ...ONE, signatures: [FOREIGN] }, [A])
    expect(names(both)).toEqual(['foreign-1', 'a-1'])
    expect(both.signatures[0]).toBe(FOREIGN)
  })

  it('replaces what a key of the same name signed, and never duplicates', () => {
    const twice = signed({ ...ONE, signatures: [OUTDATED, FOREIGN, OUTDATED] }, [A])
    expect(names(twice)).toEqual(['a-1', 'foreign-1'])
    expect(A.verifyingKey.verify(fingerprint(ONE), twice.signatures[0]!)).toBe(true)
    expect(signed(twice, [A])).toEqual(twice)
  })

  it('refuses two keys of one name', () => {
    expect(() => signingPathInfoService(memoryPathInfoService(), [A, makeSigningKey('a-1')])).toThrow(
      'two signing keys have the same name',
    )
  })
})
