import { writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { loadTokens } from '../../../../src/servers/listen/tokens.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { TOKENS_MAX } from '../../../../src/support/limits.ts'
import { tempDir } from '../../../support/temp-dir.ts'

async function load(text: string) {
  await using dir = await tempDir()
  writeFileSync(`${dir.path}/tokens`, text)
  return loadTokens(`${dir.path}/tokens`)
}

async function failure(text: string): Promise<StoreError> {
  const error = await load(text).then(
    () => new Error('it succeeded'),
    (thrown: unknown) => thrown,
  )
  if (error instanceof StoreError) return error
  throw error
}

test('each token has the permissions of its roles', async () => {
  const tokens = await load('# ours\nread:r\n\n  put:p==\r\nlist:l\nadmin:a/b+c\nput,list:pl')
  const sorted = (token: string) => [...(tokens.permissionsOf(token) ?? [])].sort().join(' ')
  expect(sorted('r')).toBe('read')
  expect(sorted('p==')).toBe('put read')
  expect(sorted('l')).toBe('list read')
  expect(sorted('a/b+c')).toBe('list put read')
  expect(sorted('pl')).toBe('list put read')
})

test('others have none', async () => {
  const tokens = await load('admin:secret')
  for (const token of ['', 'secre', 'secrets', 'Secret', 'admin:secret'])
    expect(tokens.permissionsOf(token)).toBeUndefined()
})

describe('refused, with the line and without what is in it', () => {
  test.each([
    ['', 'there is no token in it'],
    ['# nothing\n', 'there is no token in it'],
    ['read:fine\nS3CRET', 'line 2: it is not role:token'],
    ['read:S3CRET with space', 'line 1: it is not role:token'],
    ['read: S3CRET', 'line 1: it is not role:token'],
    ['root:S3CRET', 'line 1: the role is one of read, put, list, admin'],
    ['constructor:S3CRET', 'line 1: the role is one of'],
    ['read,:S3CRET', 'line 1: it is not role:token'],
  ])('%j', async (text, why) => {
    const error = await failure(text)
    expect(error.code).toBe('invalid-argument')
    expect(error.message).toContain(why)
    expect(error.message).not.toContain('S3CRET')
  })

  test('too many of them', async () => {
    const line = (_: unknown, index: number) => `read:t${index}`
    expect(await failure(Array.from({ length: TOKENS_MAX + 1 }, line).join('\n'))).toMatchObject({
      code: 'exhausted',
    })
  })

  test('no file', () => {
    expect(() => loadTokens('/nonexistent/tokens')).toThrow('cannot read /nonexistent/tokens')
  })
})
