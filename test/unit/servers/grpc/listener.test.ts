import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { chmod, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { startListener } from '../../../../src/servers/grpc/listener.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { runOk } from '../../../support/cli.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const ignore = () => {}

async function failure(address: string): Promise<StoreError> {
  try {
    const listener = await startListener(address, ignore)
    listener.close()
  } catch (error) {
    if (error instanceof StoreError) return error
    throw error
  }
  throw new Error(`listened on ${address}`)
}

describe('addresses', () => {
  test.each([
    ['127.0.0.1:0', /^127\.0\.0\.1:[1-9][0-9]*$/],
    ['localhost:0', /^(127\.0\.0\.1|\[::1\]):[1-9][0-9]*$/],
    ['[::]:0', /^(\[::\]|0\.0\.0\.0):[1-9][0-9]*$/],
  ])('%s', async (address, bound) => {
    const listener = await startListener(address, ignore)
    expect(listener.address).toMatch(bound)
    listener.close()
  })

  test.each(['', '8000', 'localhost', 'localhost:', 'localhost:http', '::1:80', '1.2.3.4:65536', 'a/b:1'])(
    '"%s" is none',
    async (address) => {
      expect(await failure(address)).toMatchObject({ code: 'invalid-argument' })
    },
  )

  test('one that is taken says so', async () => {
    const listener = await startListener('127.0.0.1:0', ignore)
    const error = await failure(listener.address)
    expect(error.message).toBe(`cannot listen on ${listener.address}: another process listens there`)
    listener.close()
  })
})

describe('unix sockets', () => {
  test('the socket goes away with its listener', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/socket`
    const listener = await startListener(path, ignore)
    expect(listener.address).toBe(path)
    expect((await stat(path)).isSocket()).toBe(true)
    listener.close()
    await expect(stat(path)).rejects.toThrow('ENOENT')
  })

  test('a socket that a killed process left is replaced', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/socket`
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    await expect(runOk(process.execPath, ['-e', script])).rejects.toThrow()
    expect((await stat(path)).isSocket()).toBe(true)
    const listener = await startListener(path, ignore)
    listener.close()
  })

  test('a socket on which somebody answers is left alone', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/socket`
    const other = createServer().listen(path)
    await once(other, 'listening')
    expect((await failure(path)).message).toContain('another process listens there')
    expect((await stat(path)).isSocket()).toBe(true)
    other.close()
  })

  test('a file that is no socket is left alone', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/file`
    writeFileSync(path, 'precious')
    const error = await failure(path)
    expect(error).toMatchObject({ code: 'precondition' })
    expect(error.message).toContain('something that is no socket is in the way')
    expect((await stat(path)).size).toBe(8)
  })

  test('a folder that does not exist is named', async () => {
    const error = await failure('/nonexistent/folder/socket')
    expect(error.message).toBe(
      'cannot listen on /nonexistent/folder/socket: the folder of the socket does not exist',
    )
  })

  test.skipIf(process.getuid?.() === 0)('a folder without permission (skipped for root)', async () => {
    await using dir = await tempDir()
    await chmod(dir.path, 0o500)
    expect(await failure(`${dir.path}/socket`)).toMatchObject({ code: 'denied' })
    await chmod(dir.path, 0o700)
  })
})
