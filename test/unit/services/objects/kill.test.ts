import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openFileObjectStore } from '../../../../src/services/objects/file.ts'
import { collect } from '../../../support/collect.ts'
import { tempDir } from '../../../support/temp-dir.ts'
import { bodyOf } from './kill-body.ts'

const CHILD = new URL('kill-child.ts', import.meta.url).pathname
const NODE = new URL('../../../../node_modules/.bin/node', import.meta.url).pathname
const ROUNDS = 8

/** Runs the child until it reported `lines` lines, kills it, and returns the keys that it said were stored. */
async function runAndKill(root: string, round: number, lines: number): Promise<string[]> {
  const child = spawn(NODE, [CHILD, root, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  let output = ''
  for await (const text of child.stdout) {
    output += text
    if (output.split('\n').length > lines) child.kill('SIGKILL')
  }
  await exited
  return output.split('\n').slice(1, -1)
}

test('killed at any time, a store holds whole objects and all it promised', async () => {
  await using dir = await tempDir()
  const promised: string[] = []
  for (let round = 0; round < ROUNDS; round++)
    promised.push(...(await runAndKill(dir.path, round, 2 + round * 7)))
  const store = await openFileObjectStore(dir.path)
  const keys = await collect(store.list(''))
  expect(keys.length).toBeGreaterThanOrEqual(promised.length)
  expect(keys).toEqual(expect.arrayContaining(promised))
  for (const key of keys) expect(Buffer.compare((await store.get(key))!, bodyOf(key)), key).toBe(0)
  const left = await fs.readdir(join(dir.path, '.tmp'))
  expect(left.length).toBeLessThanOrEqual(ROUNDS * 8)
})
