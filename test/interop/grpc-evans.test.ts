/**
 * The dialogue that the README of tvix-store shows, held with clients that know nothing of us but our address:
 * they learn the services by reflection.
 */
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FAMILIES, type Family } from '../../src/model/wire/rpc.ts'
import { runOk } from '../support/cli.ts'
import { goProgram, type TestProgram } from '../support/go-program.ts'
import { startTestServer, type TestServer } from '../support/grpc-server.ts'
import { tempDir } from '../support/temp-dir.ts'
import { vectors } from '../support/vectors.ts'

const DATA = 'eDg2XzY0LWxpbnV4' // x86_64-linux
const DIGEST = 'KOM3/IHEx7YfInAnlJpAElYezq0Sxn9fRz7xuClwNfA='

const grpcurl = await goProgram('grpcurl', 'github.com/fullstorydev/grpcurl@v1.9.4', 'cmd/grpcurl')
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

/** Calls a method with a request as JSON; the only message of the answer, as far as there is one. Throws what the client says. */
type CallMethod = (method: string, request: object) => Promise<unknown>

/** Every method of one family, by a client that takes and prints JSON. */
function describeMethods(family: Family, call: CallMethod): void {
  test('puts and reads a blob as the README says', async () => {
    const service = `${family}.castore.v1.BlobService`
    expect(await call(`${service}.Put`, { data: DATA })).toEqual({ digest: DIGEST })
    expect(await call(`${service}.Read`, { digest: DIGEST })).toEqual({ data: DATA })
    expect(await call(`${service}.Stat`, { digest: DIGEST })).toEqual({})
  })

  test('puts and gets directories', async () => {
    const service = `${family}.castore.v1.DirectoryService`
    const empty = Buffer.from(vectors.blobs.items[0].blake3_hex, 'hex').toString('base64')
    expect(await call(`${service}.Put`, {})).toEqual({ rootDigest: empty })
    expect(await call(`${service}.Get`, { digest: empty, recursive: true })).toEqual({})
    const absent = call(`${service}.Get`, { digest: DIGEST })
    await expect(absent).rejects.toThrow(`directory b3:${DIGEST} not found`)
  })

  test('puts, gets and lists path infos, and has a NAR calculated', async () => {
    const service = `${family}.store.v1.PathInfoService`
    const name = Buffer.from('00000000000000000000000000000000-dummy').toString('base64')
    const narSha256 = Buffer.alloc(32).toString('base64')
    const root = { symlink: { name, target: DATA } }
    const pathInfo = { [family === 'tvix' ? 'node' : 'entry']: root, narinfo: { narSha256 } }
    expect(await call(`${service}.Put`, pathInfo)).toEqual(pathInfo)
    const byOutputHash = Buffer.alloc(20).toString('base64')
    expect(await call(`${service}.Get`, { byOutputHash })).toEqual(pathInfo)
    expect(await call(`${service}.List`, {})).toEqual(pathInfo)
    const nar = await call(`${service}.CalculateNAR`, { symlink: { target: DATA } })
    expect(nar).toMatchObject({ narSize: '136' })
  })
}

function parsed(output: string): unknown {
  return output.trim() === '' ? undefined : JSON.parse(output)
}

describeWith('grpcurl', grpcurl, (program) => {
  const grpcurlOk = (...args: string[]) => runOk(program, ['-plaintext', ...args])
  const call: CallMethod = async (method, request) =>
    parsed(await grpcurlOk('-d', JSON.stringify(request), server.bound, method))

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
      expect(await call('grpc.health.v1.Health/Check', { service })).toEqual({ status: 'SERVING' })
  })

  describe.each(FAMILIES)('%s', (family) => {
    test('describes every service and the messages below it', async () => {
      for (const service of SERVICES)
        expect(await grpcurlOk(server.bound, 'describe', `${family}.${service}`)).toContain('rpc ')
      const node = family === 'tvix' ? 'Node node' : 'Entry entry'
      const described = await grpcurlOk(server.bound, 'describe', `${family}.store.v1.PathInfo`)
      expect(described).toContain(`.${family}.castore.v1.${node} = 1;`)
    })

    describeMethods(family, call)
  })
})

describeWith('evans', evans, (program) => {
  const evansOk = (...args: string[]) => {
    const [host, port] = server.bound.split(':') as [string, string]
    return runOk(program, ['--host', host, '--port', port, '--reflection', 'cli', ...args])
  }

  test('lists the services of both families', async () => {
    const listed = (await evansOk('list')).split('\n')
    for (const family of FAMILIES)
      expect(listed).toEqual(expect.arrayContaining(SERVICES.map((service) => `${family}.${service}`)))
  })

  describe.each(FAMILIES)('%s', (family) => {
    test('describes every method, and the messages that it knows', async () => {
      for (const service of SERVICES) {
        const methods = (await evansOk('list', `${family}.${service}`)).trim().split('\n')
        const described = await evansOk('desc', `${family}.${service}`)
        for (const method of methods) expect(described).toContain(`rpc ${method.split('.').at(-1)} (`)
      }
      // Of messages it knows those that are in the file of a service.
      const described = await evansOk('desc', `${family}.castore.v1.GetDirectoryRequest`)
      expect(described).toContain('bytes digest = 1;')
    })

    describeMethods(family, async (method, request) => {
      await using dir = await tempDir()
      const file = `${dir.path}/request.json`
      writeFileSync(file, JSON.stringify(request))
      return parsed(await evansOk('call', '--file', file, method))
    })
  })
})
