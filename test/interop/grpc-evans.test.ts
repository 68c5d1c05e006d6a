/**
 * The dialogue that the README of tvix-store shows, held with clients that know nothing of us but our address:
 * they learn the services by reflection.
 */
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FAMILIES } from '../../src/model/wire/rpc.ts'
import { runOk } from '../support/cli.ts'
import { goProgram, type TestProgram } from '../support/go-program.ts'
import { startTestServer, type TestServer } from '../support/grpc-server.ts'
import { tempDir } from '../support/temp-dir.ts'
import { vectors } from '../support/vectors.ts'

const DATA = 'eDg2XzY0LWxpbnV4' // x86_64-linux
const DIGEST = 'KOM3/IHEx7YfInAnlJpAElYezq0Sxn9fRz7xuClwNfA='

const grpcurl = await goProgram('grpcurl', 'github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4')
const evans = await goProgram('evans', 'github.com/ktr0731/evans@v0.10.11')

/** A suite that needs a program, or a skipped one that tells why it cannot run. */
function describeWith(name: string, program: TestProgram, suite: (path: string) => void): void {
  if ('path' in program) describe(name, () => suite(program.path))
  else describe.skip(`${name} (${program.missing})`, () => test('skipped', () => {}))
}

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server[Symbol.asyncDispose]())

const SERVICES = ['castore.v1.BlobService', 'castore.v1.DirectoryService', 'store.v1.PathInfoService']

describeWith('grpcurl', grpcurl, (program) => {
  const grpcurlOk = (...args: string[]) => runOk(program, ['-plaintext', ...args])
  const call = async (method: string, request: string) => {
    const output = await grpcurlOk('-d', request, server.bound, method)
    return output.trim() === '' ? undefined : JSON.parse(output)
  }

  test('lists the services of both families', async () => {
    const listed = (await grpcurlOk(server.bound, 'list')).split('\n')
    for (const family of FAMILIES)
      expect(listed).toEqual(expect.arrayContaining(SERVICES.map((service) => `${family}.${service}`)))
    for (const version of ['v1', 'v1alpha']) {
      const reflection = `grpc.reflection.${version}.ServerReflection`
      expect(listed).toContain(reflection)
      expect(await grpcurlOk(server.bound, 'describe', reflection)).toContain('rpc ServerReflectionInfo')
    }
  })

  test('asks for the health of the server and of a service', async () => {
    for (const service of ['', 'tvix.store.v1.PathInfoService'])
      expect(await call('grpc.health.v1.Health/Check', JSON.stringify({ service }))).toEqual({
        status: 'SERVING',
      })
  })

  describe.each(FAMILIES)('%s', (family) => {
    test('describes every service and the messages below it', async () => {
      for (const service of SERVICES)
        expect(await grpcurlOk(server.bound, 'describe', `${family}.${service}`)).toContain('rpc ')
      const node = family === 'tvix' ? 'Node node' : 'Entry entry'
      const described = await grpcurlOk(server.bound, 'describe', `${family}.store.v1.PathInfo`)
      expect(described).toContain(`.${family}.castore.v1.${node} = 1;`)
    })

    test('puts and reads a blob as the README says', async () => {
      const service = `${family}.castore.v1.BlobService`
      expect(await call(`${service}/Put`, JSON.stringify({ data: DATA }))).toEqual({ digest: DIGEST })
      expect(await call(`${service}/Read`, JSON.stringify({ digest: DIGEST }))).toEqual({ data: DATA })
      expect(await call(`${service}/Stat`, JSON.stringify({ digest: DIGEST }))).toEqual({})
    })

    test('puts and gets directories', async () => {
      const service = `${family}.castore.v1.DirectoryService`
      const empty = Buffer.from(vectors.blobs.items[0].blake3_hex, 'hex').toString('base64')
      expect(await call(`${service}/Put`, '{}')).toEqual({ rootDigest: empty })
      expect(await call(`${service}/Get`, JSON.stringify({ digest: empty, recursive: true }))).toEqual({})
      const absent = call(`${service}/Get`, JSON.stringify({ digest: DIGEST }))
      await expect(absent).rejects.toThrow(`directory b3:${DIGEST} not found`)
    })

    test('puts, gets and lists path infos, and has a NAR calculated', async () => {
      const service = `${family}.store.v1.PathInfoService`
      const name = Buffer.from('00000000000000000000000000000000-dummy').toString('base64')
      const narSha256 = Buffer.alloc(32).toString('base64')
      const root = { symlink: { name, target: DATA } }
      const pathInfo = { [family === 'tvix' ? 'node' : 'entry']: root, narinfo: { narSha256 } }
      expect(await call(`${service}/Put`, JSON.stringify(pathInfo))).toEqual(pathInfo)
      const byOutputHash = Buffer.alloc(20).toString('base64')
      expect(await call(`${service}/Get`, JSON.stringify({ byOutputHash }))).toEqual(pathInfo)
      expect(await call(`${service}/List`, '{}')).toEqual(pathInfo)
      const nar = await call(`${service}/CalculateNAR`, JSON.stringify({ symlink: { target: DATA } }))
      expect(nar).toMatchObject({ narSize: '136' })
    })
  })
})

describeWith('evans', evans, (program) => {
  const evansOk = (...args: string[]) => {
    const [host, port] = server.bound.split(':') as [string, string]
    return runOk(program, ['--host', host, '--port', port, '--reflection', 'cli', ...args])
  }

  test('lists the services of both families', async () => {
    const listed = await evansOk('list')
    for (const family of FAMILIES)
      for (const service of SERVICES) expect(listed).toContain(`${family}.${service}`)
  })

  test.each(FAMILIES)('puts and reads a blob as the README says: %s', async (family) => {
    await using dir = await tempDir()
    const call = async (method: string, request: object) => {
      const file = `${dir.path}/${method}.json`
      writeFileSync(file, JSON.stringify(request))
      return JSON.parse(await evansOk('call', '--file', file, `${family}.castore.v1.BlobService.${method}`))
    }
    expect(await call('Put', { data: DATA })).toEqual({ digest: DIGEST })
    expect(await call('Read', { digest: DIGEST })).toEqual({ data: DATA })
  })
})
