/**
 * Credentials of Azure from where its platforms put them, each against a stand-in. The SDK sends tokens over TLS only,
 * so the one who reads is a process of its own that trusts our certificate.
 */
import { readFileSync } from 'node:fs'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createAuthority, createCertificate, HAS_OPENSSL } from '../../../support/certificates.ts'
import { runOk } from '../../../support/cli.ts'
import { type Answer, startHttpServer, type TestHttpServer } from '../../../support/http-server.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const CHILD = join(import.meta.dirname, '../../../support/bucket-child.ts')
const title = HAS_OPENSSL
  ? 'credentials of Azure'
  : 'credentials of Azure (skipped: openssl is not installed)'

describe.skipIf(!HAS_OPENSSL)(title, () => {
  let folder: Awaited<ReturnType<typeof tempDir>>
  let storage: TestHttpServer
  let readers: string[]

  beforeAll(async () => {
    folder = await tempDir()
    const signer = createAuthority(folder.path, 'authority')
    const files = createCertificate(folder.path, 'server', { signer, names: 'IP:127.0.0.1' })
    const answer: Answer = (response, request) => {
      readers.push(String(request.headers.authorization))
      response.writeHead(200, { 'content-length': '3', etag: '"1"' }).end('abc')
    }
    const pem = { key: readFileSync(files.key, 'utf8'), cert: readFileSync(files.cert, 'utf8') }
    storage = await startHttpServer(answer, pem)
  })
  afterAll(async () => {
    await storage?.[Symbol.asyncDispose]()
    await folder?.[Symbol.asyncDispose]()
  })

  /** What each of so many reads printed. */
  async function reads(times: number, env: Record<string, string>): Promise<string[]> {
    readers = []
    const url = `az://container/p?azure_storage_account_name=account&azure_storage_endpoint=${storage.url.origin}`
    // Nothing of this machine's own identity, and nobody who answers at the address of a metadata server.
    const clean = ['env', '-i', `PATH=${process.env['PATH']}`, `HOME=${folder.path}`]
    const own = { NODE_EXTRA_CA_CERTS: join(folder.path, 'authority.pem'), ...env }
    const set = Object.entries(own).map(([name, value]) => `${name}=${value}`)
    const [command = '', ...args] = [...clean, ...set, process.execPath, CHILD, url, String(times)]
    return (await runOk(command, args)).trim().split('\n')
  }

  it('are those of the managed identity, renewed before they expire', async () => {
    let made = 0
    await using identity = await startHttpServer((response, request) => {
      expect(request.headers['x-identity-header']).toBe('secret-header')
      expect(request.url).toContain(encodeURIComponent('https://storage.azure.com'))
      const expires = Math.floor(Date.now() / 1000) + 60
      const token = { access_token: `token${++made}`, expires_on: String(expires), token_type: 'Bearer' }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(token))
    })
    const env = { IDENTITY_ENDPOINT: `${identity.url.origin}/msi/token`, IDENTITY_HEADER: 'secret-header' }
    expect(await reads(5, env)).toEqual(Array(5).fill('read 3'))
    expect(readers[0]).toBe('Bearer token1')
    // Asked for behind the back of those who read.
    expect(made).toBeGreaterThan(1)
  })

  it('are a refusal when the identity is none', async () => {
    await using identity = await startHttpServer((response) =>
      response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_request"}'),
    )
    const env = { IDENTITY_ENDPOINT: `${identity.url.origin}/msi/token`, IDENTITY_HEADER: 'secret-header' }
    const [said] = await reads(1, env)
    expect(said).toMatch(/^denied reading k in az:\/\/account\/container\/p\/: no credentials \(/)
    expect(said).not.toContain('secret-header')
    expect(readers).toEqual([])
  })

  it('are those of the command line tool', async () => {
    const tool = join(folder.path, 'az')
    const token = { accessToken: 'of-the-tool', expires_on: 4_070_908_800, tokenType: 'Bearer' }
    await writeFile(tool, `#!/bin/sh\necho '${JSON.stringify(token)}'\n`)
    await chmod(tool, 0o755)
    const env = { PATH: `${folder.path}:/usr/bin:/bin`, AZURE_TOKEN_CREDENTIALS: 'AzureCliCredential' }
    expect(await reads(1, env)).toEqual(['read 3'])
    expect(readers).toEqual(['Bearer of-the-tool'])
  })

  it('are those of a client, whose refusal is one', async () => {
    const secret = { AZURE_TENANT_ID: 'tenant', AZURE_CLIENT_ID: 'client', AZURE_CLIENT_SECRET: 'top-secret' }
    // The authority is our storage server, which answers everything with nonsense.
    const env = {
      ...secret,
      AZURE_AUTHORITY_HOST: storage.url.origin,
      AZURE_TOKEN_CREDENTIALS: 'EnvironmentCredential',
    }
    const [said] = await reads(1, env)
    expect(said).toMatch(/^denied .*no credentials/)
    expect(said).not.toContain('top-secret')
  })
})
