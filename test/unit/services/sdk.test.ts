import { expect, it } from 'vitest'
import { importSdk } from '../../../src/services/sdk.ts'

it('names the package that is missing, in one line', async () => {
  // A name that no package will ever have.
  const load = () => import(['@tvix-store', 'never-published'].join('/'))
  const failure = await importSdk('@tvix-store/never-published', load).catch((error: unknown) => error)
  expect(failure).toMatchObject({
    code: 'unimplemented',
    message:
      'it needs the package @tvix-store/never-published, which is not installed: npm install @tvix-store/never-published',
  })
})

it('passes on what is wrong with a package that is there', async () => {
  const broken = Promise.reject(new TypeError('broken'))
  await expect(importSdk('broken', () => broken)).rejects.toThrow(new TypeError('broken'))
})
