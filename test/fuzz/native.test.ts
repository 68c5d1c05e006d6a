import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { loadCorpus } from './corpus.ts'
import { buildFuzzer, NATIVE_TARGETS, runFuzzer } from './native.ts'

const folder = mkdtempSync(join(tmpdir(), 'tvix-store-fuzz-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each(Object.keys(NATIVE_TARGETS))('%s, under ASan and UBSan', (target) => {
  const built = buildFuzzer(target, folder)
  const title = 'missing' in built ? ` (skipped: ${built.missing.split('\n')[0]})` : ''
  const program = 'program' in built ? built.program : ''

  test.skipIf(title)(`the corpus breaks no promise${title}`, async () => {
    const corpus = loadCorpus(target)
    expect(corpus.length).toBeGreaterThan(20)
    const { status, said } = await runFuzzer(program, corpus)
    expect({ status, said }).toEqual({
      status: 0,
      said: expect.stringContaining(`replayed, ${corpus.length} kept`),
    })
  })

  test.skipIf(title)(`nor do a second of mutations, and one of races${title}`, async () => {
    for (const race of [false, true]) {
      const { status, said } = await runFuzzer(program, loadCorpus(target), { seconds: 1, race })
      expect({ status, said }).toEqual({ status: 0, said: expect.stringContaining('executions') })
    }
  })
})
