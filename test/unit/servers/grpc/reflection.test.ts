import { createRequire } from 'node:module'
import { Client, credentials } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { descriptorFiles } from '../../../../src/model/wire/descriptors.ts'
import { FAMILIES } from '../../../../src/model/wire/rpc.ts'
import { createGrpcServer } from '../../../../src/servers/grpc/server.ts'
import { memoryParts, startTestServer, type TestServer } from '../../../support/grpc-server.ts'

const protos = createRequire(import.meta.url)
  .resolve('@grpc/reflection')
  .replace(/build\/.*/, 'build/proto')

interface Response {
  readonly listServicesResponse?: { service: { name: string }[] }
  readonly fileDescriptorResponse?: { fileDescriptorProto: Buffer[] }
  readonly errorResponse?: { errorCode: number }
}

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server[Symbol.asyncDispose]())

const GRPC_SERVICES = [
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
]

describe.each(['v1', 'v1alpha'])('reflection %s', (version) => {
  async function ask(request: Record<string, string>, address = server.bound): Promise<Response> {
    const loaded = loadSync(`${protos}/grpc/reflection/${version}/reflection.proto`, { oneofs: true })
    const service = loaded[`grpc.reflection.${version}.ServerReflection`] as unknown as {
      ServerReflectionInfo: {
        path: string
        requestSerialize: (message: object) => Buffer
        responseDeserialize: (bytes: Buffer) => Response
      }
    }
    const { path, requestSerialize, responseDeserialize } = service.ServerReflectionInfo
    const client = new Client(address, credentials.createInsecure())
    try {
      const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
      stream.write(request)
      stream.end()
      for await (const response of stream) return response as Response
      throw new Error('no answer')
    } finally {
      client.close()
    }
  }

  /** Sorted, since a server sends dependencies in any order. */
  const sorted = (files: readonly Uint8Array[]) =>
    files.map((file) => Buffer.from(file).toString('hex')).sort()

  test('lists every service: those of both families, health, and itself, as the server of grpc-go does', async () => {
    const { listServicesResponse } = await ask({ listServices: '*' })
    const names = listServicesResponse!.service.map(({ name }) => name)
    const expected = FAMILIES.flatMap((family) => [
      `${family}.castore.v1.BlobService`,
      `${family}.castore.v1.DirectoryService`,
      `${family}.store.v1.PathInfoService`,
    ])
    expect(names.sort()).toEqual([...expected, ...GRPC_SERVICES].sort())
  })

  test('lists no path infos where none are served', async () => {
    const { blobs, directories, logger } = memoryParts()
    const castore = createGrpcServer({ blobs, directories, logger })
    const { listServicesResponse } = await ask({ listServices: '*' }, await castore.listen('127.0.0.1:0'))
    const names = listServicesResponse!.service.map(({ name }) => name)
    const expected = FAMILIES.flatMap((family) => [
      `${family}.castore.v1.BlobService`,
      `${family}.castore.v1.DirectoryService`,
    ])
    expect(names.sort()).toEqual([...expected, ...GRPC_SERVICES].sort())
    await castore.shutdown(0)
  })

  describe.each(FAMILIES)('%s', (family) => {
    const file = (name: string) =>
      descriptorFiles(family).find((each) => Buffer.from(each).includes(`${family}/${name}`, 0, 'latin1'))!

    test('a symbol comes with its file and what that imports, unchanged', async () => {
      for (const symbol of ['PathInfoService', 'PathInfoService.List', 'ListPathInfoRequest']) {
        const { fileDescriptorResponse } = await ask({ fileContainingSymbol: `${family}.store.v1.${symbol}` })
        const expected = descriptorFiles(family).filter((each) => {
          const text = Buffer.from(each.subarray(2, 2 + each[1]!)).toString()
          return !text.includes('rpc_blobstore') && !text.includes('rpc_directory')
        })
        expect(sorted(fileDescriptorResponse!.fileDescriptorProto)).toEqual(sorted(expected))
      }
    })

    test('a file is found under its original name', async () => {
      const name = 'castore/protos/castore.proto'
      const { fileDescriptorResponse } = await ask({ fileByFilename: `${family}/${name}` })
      expect(sorted(fileDescriptorResponse!.fileDescriptorProto)).toEqual(sorted([file(name)]))
    })
  })

  test('what does not exist is NOT_FOUND', async () => {
    expect((await ask({ fileContainingSymbol: 'tvix.castore.v1.Nothing' })).errorResponse!.errorCode).toBe(5)
    expect((await ask({ fileByFilename: 'castore.proto' })).errorResponse!.errorCode).toBe(5)
  })
})
