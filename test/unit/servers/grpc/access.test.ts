import { writeFileSync } from 'node:fs'
import { Metadata } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { FAMILIES, methodPath } from '../../../../src/model/wire/rpc.ts'
import { blobRpc, directoryRpc, pathInfoRpc } from '../../../../src/model/wire/services.ts'
import { createGrpcServer } from '../../../../src/servers/grpc/server.ts'
import { loadTokens, type Tokens } from '../../../../src/servers/listen/tokens.ts'
import { grpcBlobService } from '../../../../src/services/blobs/grpc.ts'
import { openGrpcChannel } from '../../../../src/services/grpc-channel.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { memoryParts } from '../../../support/grpc-server.ts'
import { recordingLogger } from '../../../support/recording-logger.ts'
import { tempDir } from '../../../support/temp-dir.ts'
import { rawClient } from './raw-client.ts'

/** Every method of ours and what it needs, written down again so that a new one is thought about. */
const NEEDS: Readonly<Record<string, 'read' | 'put' | 'list'>> = {
  'castore.v1.BlobService/Stat': 'read',
  'castore.v1.BlobService/Read': 'read',
  'castore.v1.BlobService/Put': 'put',
  'castore.v1.DirectoryService/Get': 'read',
  'castore.v1.DirectoryService/Put': 'put',
  'store.v1.PathInfoService/Get': 'read',
  'store.v1.PathInfoService/Put': 'put',
  'store.v1.PathInfoService/CalculateNAR': 'read',
  'store.v1.PathInfoService/List': 'list',
}
const SERVICES = [blobRpc, directoryRpc, pathInfoRpc]
const PATHS = FAMILIES.flatMap((family) =>
  SERVICES.flatMap((service) =>
    Object.keys(service.methods).map((name) => methodPath(family, service, name)),
  ),
)
const needs = (path: string) => NEEDS[path.slice(path.indexOf('.') + 1)]!

interface Guarded extends AsyncDisposable {
  /** Status code and details of a call with an empty message. */
  call(path: string, token?: string): Promise<{ code: string; details: string }>
  readonly address: string
  readonly folder: string
  readonly lines: readonly unknown[]
}

async function serve(transport: 'TCP' | 'unix', roles: string, tokens?: Tokens): Promise<Guarded> {
  const dir = await tempDir()
  const { logger, lines } = recordingLogger()
  const server = createGrpcServer({ ...memoryParts(), logger, tokens })
  const place = transport === 'unix' ? `${dir.path}/socket` : '127.0.0.1:0'
  const bound = await server.listen(`${place}${roles}`)
  return {
    lines,
    folder: dir.path,
    address: transport === 'unix' ? `grpc+unix:${bound}` : `grpc+http://${bound}`,
    async call(path, token) {
      const metadata = new Metadata()
      if (token !== undefined) metadata.set('authorization', token)
      using client = rawClient(transport === 'unix' ? `unix:${bound}` : bound, metadata)
      return await client.call(path, new Uint8Array(0))
    },
    async [Symbol.asyncDispose]() {
      await server.shutdown(0)
      await dir[Symbol.asyncDispose]()
    },
  }
}

async function exampleTokens(): Promise<Tokens> {
  await using dir = await tempDir()
  writeFileSync(`${dir.path}/tokens`, 'read:R\nput:P\nlist:L\nadmin:A\n')
  return loadTokens(`${dir.path}/tokens`)
}

const REFUSALS = ['PERMISSION_DENIED', 'UNAUTHENTICATED']
const HEALTH = '/grpc.health.v1.Health/Check'
const REFLECTION = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo'

test('the table has every method', () => {
  expect(new Set(PATHS.map((path) => path.slice(path.indexOf('.') + 1)))).toEqual(new Set(Object.keys(NEEDS)))
  expect(PATHS).toHaveLength(18)
})

describe.each(['TCP', 'unix'] as const)('over %s', (transport) => {
  test.each([
    ['', []],
    ['?role=read-only', ['put']],
    ['?role=no-list', ['list']],
    ['?role=read-only,no-list', ['put', 'list']],
  ])('a listener "%s"', async (roles, taken: string[]) => {
    await using server = await serve(transport, roles)
    for (const path of [...PATHS, HEALTH, REFLECTION]) {
      const { code, details } = await server.call(path)
      if (!taken.includes(needs(path))) {
        expect([path, REFUSALS.includes(code)]).toEqual([path, false])
        continue
      }
      expect([path, code]).toEqual([path, 'PERMISSION_DENIED'])
      const place = transport === 'unix' ? `${server.folder}/socket` : '127.0.0.1:0'
      const role = needs(path) === 'put' ? 'read-only' : 'no-list'
      expect(details).toBe(`${path.slice(1)}: not permitted on ${place}, which is ${role}`)
    }
  })

  test.each([
    ['R', ['read']],
    ['P', ['read', 'put']],
    ['L', ['read', 'list']],
    ['A', ['read', 'put', 'list']],
  ])('token %s', async (token, may: string[]) => {
    await using server = await serve(transport, '', await exampleTokens())
    for (const path of PATHS) {
      const { code, details } = await server.call(path, `Bearer ${token}`)
      if (may.includes(needs(path))) expect([path, REFUSALS.includes(code)]).toEqual([path, false])
      else {
        expect([path, code]).toEqual([path, 'PERMISSION_DENIED'])
        expect(details).toBe(`${path.slice(1)}: the bearer token does not allow to ${needs(path)}`)
      }
    }
    expect(server.lines).toEqual([])
  })

  test.each([
    ['no token', undefined, 'a bearer token is needed'],
    ['an unknown one', 'Bearer S3CRET', 'the bearer token is not known here'],
    ['another scheme', 'Basic A', 'a bearer token is needed'],
    ['no scheme', 'A', 'a bearer token is needed'],
    ['nothing behind it', 'Bearer ', 'a bearer token is needed'],
    ['two words', 'Bearer A A', 'a bearer token is needed'],
  ])('%s', async (_, token, why) => {
    await using server = await serve(transport, '', await exampleTokens())
    for (const path of [...PATHS, REFLECTION])
      expect(await server.call(path, token)).toMatchObject({
        code: 'UNAUTHENTICATED',
        details: `${path.slice(1)}: ${why}`,
      })
    expect(await server.call(HEALTH, token)).toMatchObject({ code: 'OK' })
    // One line for all of them, and no secret in it.
    expect(server.lines).toHaveLength(1)
    expect(JSON.stringify(server.lines)).not.toContain('S3CRET')
  })

  test('a token does not lift what its listener forbids', async () => {
    await using server = await serve(transport, '?role=read-only,no-list', await exampleTokens())
    for (const path of PATHS)
      expect([path, (await server.call(path, 'Bearer A')).code === 'PERMISSION_DENIED']).toEqual([
        path,
        needs(path) !== 'read',
      ])
  })

  test('our clients show the token of their file', async () => {
    await using server = await serve(transport, '', await exampleTokens())
    const blobs = async (token: string) => {
      writeFileSync(`${server.folder}/token`, token)
      const channel = await openGrpcChannel(`${server.address}?token-file=${server.folder}/token`)
      return { blobs: grpcBlobService(channel), [Symbol.dispose]: () => channel.close() }
    }
    const contents = new Uint8Array(12 * 1024 * 1024).fill(1) // more than a window
    using writer = await blobs('P\n')
    const upload = await writer.blobs.openWrite()
    await upload.write(contents)
    const digest = await upload.close()
    using reader = await blobs('R')
    let size = 0
    for await (const piece of (await reader.blobs.openRead(digest))!) size += piece.length
    expect(size).toBe(contents.length)
    await expect(put(reader.blobs, contents)).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('the bearer token does not allow to put'),
    })
    using stranger = await blobs('S3CRET')
    await expect(stranger.blobs.has(digest)).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringMatching(/^(?!.*S3CRET).*the bearer token is not known here/),
    })
  })

  test('an upload that is cut under guard is not taken for a whole one', async () => {
    await using server = await serve(transport, '', await exampleTokens())
    writeFileSync(`${server.folder}/token`, 'P')
    const channel = await openGrpcChannel(`${server.address}?token-file=${server.folder}/token`)
    const blobs = grpcBlobService(channel)
    const upload = await blobs.openWrite()
    await upload.write(new Uint8Array(100))
    await upload.abort()
    expect(await blobs.has(Digest.of(new Uint8Array(100)))).toBe(false)
    channel.close()
  })
})

async function put(blobs: ReturnType<typeof grpcBlobService>, contents: Uint8Array): Promise<void> {
  const upload = await blobs.openWrite()
  await upload.write(contents)
  await upload.close()
}

describe('a token file that does not do', () => {
  test.each([
    ['', /its first line is no bearer token/],
    ['S3CRET with space', /^(?!.*S3CRET).*its first line is no bearer token/],
    ['\nS3CRET', /its first line is no bearer token/],
  ])('%j', async (text, why) => {
    await using dir = await tempDir()
    writeFileSync(`${dir.path}/token`, text)
    const failure = await openGrpcChannel(`grpc+http://localhost:1?token-file=${dir.path}/token`).catch(
      (e) => e,
    )
    expect(failure).toBeInstanceOf(StoreError)
    expect(failure).toMatchObject({ code: 'invalid-argument', message: expect.stringMatching(why) })
  })

  test('no file', async () => {
    await expect(openGrpcChannel('grpc+unix:/s?token-file=/nonexistent')).rejects.toThrow(
      'cannot read /nonexistent',
    )
  })
})

describe('what an operator is warned of', () => {
  test.each([
    ['127.0.0.1:0', false, []],
    ['0.0.0.0:0?role=read-only', false, []],
    ['0.0.0.0:0', false, ['whoever reaches this address may write to the store']],
    ['0.0.0.0:0', true, ['tokens cross the network in the clear: give --tls-cert']],
  ])('%s, tokens: %s', async (address, withTokens, messages) => {
    const { logger, lines } = recordingLogger()
    const tokens = withTokens ? await exampleTokens() : undefined
    const server = createGrpcServer({ ...memoryParts(), logger, tokens })
    await server.listen(address)
    expect(lines.map(({ msg }) => msg)).toEqual(messages)
    await server.shutdown(0)
  })
})
