/** Every method of both families, called by a Python client that has only our address and reflection. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FAMILIES } from '../../src/model/wire/rpc.ts'
import { TEST_CACHE } from '../support/caches.ts'
import { run, runOk } from '../support/cli.ts'
import { startTestServer } from '../support/grpc-server.ts'
import { hasProgram } from '../support/requirements.ts'

const PACKAGE = 'grpcio-reflection==1.85.1'
/** An environment of Python that stays from run to run. */
const ENVIRONMENT = join(TEST_CACHE, 'python-reflection')
const SCRIPT = join(import.meta.dirname, 'reflection-client.py')

/** Why the client cannot run here; `undefined` when it can. */
async function missing(): Promise<string | undefined> {
  if (!hasProgram('python3')) return 'python3 is not installed'
  const python = join(ENVIRONMENT, 'bin', 'python')
  if (existsSync(python) && (await run(python, ['-c', 'import grpc_reflection'])).code === 0) return undefined
  const made = await run('python3', ['-m', 'venv', ENVIRONMENT])
  if (made.code !== 0) return 'python3 has no venv'
  const { code, stderr } = await run(python, ['-m', 'pip', 'install', '--quiet', PACKAGE])
  return code === 0 ? undefined : `pip install ${PACKAGE}: ${stderr.trim().split('\n').at(-1)}`
}

const reason = await missing()

describe.skipIf(reason !== undefined)(`grpcio-reflection${reason ? ` (${reason})` : ''}`, () => {
  test.each(['v1', 'v1alpha'])(
    '%s: lists, describes and calls every method of both families',
    async (version) => {
      await using server = await startTestServer()
      const python = join(ENVIRONMENT, 'bin', 'python')
      const found = JSON.parse(await runOk(python, [SCRIPT, server.bound, version]))
      for (const family of FAMILIES) {
        const calls = (service: string, answers: Record<string, string>) =>
          Object.fromEntries(
            Object.entries(answers).map(([method, code]) => [`${family}.${service}.${method}`, code]),
          )
        expect(found.calls).toMatchObject({
          ...calls('castore.v1.BlobService', {
            Stat: 'INVALID_ARGUMENT',
            Read: 'INVALID_ARGUMENT',
            Put: 'OK',
          }),
          ...calls('castore.v1.DirectoryService', { Get: 'INVALID_ARGUMENT', Put: 'OK' }),
          ...calls('store.v1.PathInfoService', {
            // The word for a request without by_what (spec, Appendix A).
            Get: 'UNIMPLEMENTED',
            Put: 'INVALID_ARGUMENT',
            CalculateNAR: 'INVALID_ARGUMENT',
            List: 'OK',
          }),
        })
        expect(found.read[`${family}.castore.v1.BlobService`]).toBe('x86_64-linux')
      }
      expect(Object.keys(found.calls)).toHaveLength(18)
    },
  )
})
