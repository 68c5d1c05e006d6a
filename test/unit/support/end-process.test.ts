/** A process ends when it is told to, whatever its threads are at, and loses nothing of what it said. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run, runOk, until } from '../../support/cli.ts'
import { tempDir } from '../../support/temp-dir.ts'

const MODULE = join(import.meta.dirname, '../../../src/support/end-process.ts')

const WRITTEN_BYTES = 2 ** 20

/** A thread that waits in one call of the system, which nothing ends but who reads all of it. */
const BLOCKED = `
  const { workerData } = require('node:worker_threads')
  require('node:fs').writeFileSync(workerData, Buffer.alloc(${WRITTEN_BYTES}))
`
/** Ends when the first byte was there: the thread is in that call then, since a pipe takes a sixteenth of what it writes. */
const program = (end: string) => `
  import { constants, openSync, readSync } from 'node:fs'
  import { Worker } from 'node:worker_threads'
  import { endProcess } from ${JSON.stringify(MODULE)}
  const fifo = process.argv[2]
  const fd = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK)
  new Worker(${JSON.stringify(BLOCKED)}, { eval: true, workerData: fifo })
  const isWriting = () => {
    try {
      return readSync(fd, Buffer.alloc(1)) === 1
    } catch (error) {
      if (error.code === 'EAGAIN') return false
      throw error
    }
  }
  setInterval(() => {
    if (!isWriting()) return
    process.on('exit', () => process.stdout.write('and listened'))
    process.stdout.write('ended ')
    ${end}
  }, 1)
`

async function start(folder: string, end: string) {
  const [fifo, script] = [join(folder, 'fifo'), join(folder, 'program.mjs')]
  await runOk('mkfifo', [fifo])
  await writeFile(script, program(end))
  const child = spawn(process.execPath, [script, fifo], { stdio: ['ignore', 'pipe', 'inherit'] })
  const said: string[] = []
  child.stdout.on('data', (part) => said.push(String(part)))
  return { fifo, exited: once(child, 'close'), said: () => said.join('') }
}

test('it ends with its code beside a thread that is blocked, after its listeners', async () => {
  await using dir = await tempDir()
  const { exited, said } = await start(dir.path, 'endProcess(7)')
  expect(await exited).toEqual([7, null])
  expect(said()).toBe('ended and listened')
})

test('which Node does not: it waits for all of them', async () => {
  await using dir = await tempDir()
  const { fifo, exited, said } = await start(dir.path, 'process.exit(7)')
  await until(() => said() === 'ended and listened')
  // The rest of what the thread writes is there to be read, which ends its wait.
  expect(await runOk('sh', ['-c', 'wc -c < "$0"', fifo])).toBe(`${WRITTEN_BYTES - 1}\n`)
  expect(await exited).toEqual([7, null])
})

test('a profile that was asked for is written', async () => {
  await using dir = await tempDir()
  const end = `import(${JSON.stringify(MODULE)}).then(({ endProcess }) => endProcess(3))`
  const { code } = await run(process.execPath, ['--cpu-prof', `--cpu-prof-dir=${dir.path}`, '--eval', end])
  expect(code).toBe(3)
  expect(await runOk('ls', [dir.path])).toContain('.cpuprofile')
})
