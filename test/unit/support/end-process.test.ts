/** A process ends when it is told to, whatever its threads are at, and loses nothing of what it said. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run, runOk } from '../../support/cli.ts'
import { tempDir } from '../../support/temp-dir.ts'

const MODULE = join(import.meta.dirname, '../../../src/support/end-process.ts')

/** A thread that waits for what never comes, in a call that nothing ends. */
const BLOCKED = `require('node:fs').readFileSync(require('node:worker_threads').workerData)`
/** Ends when its standard input does. */
const program = (end: string) => `
  import { Worker } from 'node:worker_threads'
  import { endProcess } from ${JSON.stringify(MODULE)}
  new Worker(${JSON.stringify(BLOCKED)}, { eval: true, workerData: process.argv[2] })
  process.stdin.resume().on('end', () => {
    process.on('exit', () => process.stdout.write('and listened'))
    process.stdout.write('ended ')
    ${end}
  })
`

/** Whether a thread of the process waits in open(2) for somebody who writes. */
function isOpeningFifo(pid: number): boolean {
  const threads = readdirSync(`/proc/${pid}/task`)
  const isThere = (id: string) =>
    /fifo_open|wait_for_partner/.test(readFileSync(`/proc/${pid}/task/${id}/wchan`, 'utf8'))
  return threads.some(isThere)
}

async function start(folder: string, end: string) {
  const [fifo, script] = [join(folder, 'fifo'), join(folder, 'program.mjs')]
  await runOk('mkfifo', [fifo])
  await writeFile(script, program(end))
  const child = spawn(process.execPath, [script, fifo], { stdio: ['pipe', 'pipe', 'inherit'] })
  const said: string[] = []
  child.stdout.on('data', (part) => said.push(String(part)))
  await expect.poll(() => isOpeningFifo(child.pid!)).toBe(true)
  child.stdin.end()
  return { child, fifo, exited: once(child, 'close'), said: () => said.join('') }
}

test('it ends with its code beside a thread that is blocked, after its listeners', async () => {
  await using dir = await tempDir()
  const { exited, said } = await start(dir.path, 'endProcess(7)')
  expect(await exited).toEqual([7, null])
  expect(said()).toBe('ended and listened')
})

test('which Node does not: it waits for all of them', async () => {
  await using dir = await tempDir()
  const { child, fifo, exited, said } = await start(dir.path, 'process.exit(7)')
  await expect.poll(said).toBe('ended and listened')
  expect(child.exitCode).toBe(null)
  // Who opens it for writing ends the wait of the thread.
  await runOk('sh', ['-c', ': > "$0"', fifo])
  expect(await exited).toEqual([7, null])
})

test('a profile that was asked for is written', async () => {
  await using dir = await tempDir()
  const end = `import(${JSON.stringify(MODULE)}).then(({ endProcess }) => endProcess(3))`
  const { code } = await run(process.execPath, ['--cpu-prof', `--cpu-prof-dir=${dir.path}`, '--eval', end])
  expect(code).toBe(3)
  expect(await runOk('ls', [dir.path])).toContain('.cpuprofile')
})
