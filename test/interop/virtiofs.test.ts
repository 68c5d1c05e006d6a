/** The command `virtiofs` as a service manager and a user see it; what guests see is in guest.test.ts. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localStoreFlags, run, TVIX_STORE, until } from '../support/cli.ts'
import { DeviceProcess } from '../support/guest/device-process.ts'
import { signalIfAlive, whyNoMounts } from '../support/mount.ts'
import { IS_ROOT } from '../support/requirements.ts'

/** Node, with the addon loaded and confined; prints the code with which starting a program fails, or that it did not. */
const CONFINED = `
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { vhostAddon } from '${join(import.meta.dirname, '../../src/mount/virtiofs/vhost-addon.ts')}'
const before = spawnSync('true').status
const failed = vhostAddon().confine()
const after = spawnSync('true').error?.code
const { Worker } = await import('node:worker_threads')
const worker = await new Promise((resolve) => new Worker('(await import("node:worker_threads")).parentPort.postMessage("lives")', { eval: true }).once('message', resolve))
function statusOf(id) {
  try { return [readFileSync('/proc/self/task/' + id + '/status', 'utf8')] }
  catch (error) { if (['ENOENT', 'ESRCH'].includes(error.code)) return []; throw error } // the thread has just ended
}
const threads = readdirSync('/proc/self/task').flatMap(statusOf)
const filtered = threads.every((status) => /Seccomp:\\t2/.test(status) && /NoNewPrivs:\\t1/.test(status))
console.log(JSON.stringify({ before, failed, after, worker, filtered }))
process.exit()`

const reason = whyNoMounts()

describe.skipIf(reason)(`tvix-store virtiofs${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let folder: string
  let flags: string[]

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-virtiofs-'))
    flags = localStoreFlags(folder)
  })
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  test('tells when it serves, and removes its sockets at the end', async () => {
    const sockets = [join(folder, 'a.socket'), join(folder, 'b.socket')]
    const args = ['virtiofs', '--ready-fd', '3', ...flags, ...sockets]
    const child = spawn(TVIX_STORE, args, { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    await new Promise((resolve) => child.stdio[3]!.once('data', resolve))
    expect(sockets.map((path) => existsSync(path))).toEqual([true, true])
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
    expect(sockets.map((path) => existsSync(path))).toEqual([false, false])
  })

  test('replaces what a killed one left behind, and nothing else', async () => {
    const socket = join(folder, 'left.socket')
    const killed = await DeviceProcess.ours([socket], flags)
    signalIfAlive(killed.pid, 'SIGKILL')
    await killed.stop()
    expect(existsSync(socket)).toBe(true)
    {
      await using _ = await DeviceProcess.ours([join(folder, 'other.socket'), socket], flags)
    }
    const somebody = createServer().listen(socket)
    const busy = await run(TVIX_STORE, ['virtiofs', ...flags, socket])
    expect(busy).toMatchObject({ code: 73, stderr: expect.stringContaining('another process listens there') })
    somebody.close()
    await writeFile(join(folder, 'file'), '')
    const file = await run(TVIX_STORE, ['virtiofs', ...flags, join(folder, 'file')])
    expect(file).toMatchObject({ code: 73, stderr: expect.stringContaining('no socket is in the way') })
    const nowhere = await run(TVIX_STORE, ['virtiofs', ...flags, join(folder, 'absent/socket')])
    expect(nowhere).toMatchObject({ code: 66, stderr: expect.stringContaining('folder of the socket') })
  })

  test('leaves the socket of its successor alone', async () => {
    const socket = join(folder, 'successive.socket')
    const first = await DeviceProcess.ours([socket], flags)
    await rm(socket)
    await using _ = await DeviceProcess.ours([socket], flags)
    await first.stop()
    expect(existsSync(socket)).toBe(true)
  })

  test('a second monitor on a socket waits, which the log tells, and has its turn when the first one is gone', async () => {
    const socket = join(folder, 'shared.socket')
    await using device = await DeviceProcess.ours([socket], flags)
    const said = (what: string) => device.log.split(what).length - 1
    const first = connect(socket)
    await until(() => said('a virtual machine monitor connected') === 1)
    const second = connect(socket)
    await until(() => said('each guest needs a socket of its own') === 1)
    first.destroy()
    await until(() => said('a virtual machine monitor connected') === 2)
    // Alone now: the next one is told of again.
    const third = connect(socket)
    await until(() => said('each guest needs a socket of its own') === 2)
    for (const other of [second, third]) other.destroy()
    await until(() => said('the virtual machine monitor left') === 3)
  })

  test('gives its sockets the mode and owner that are asked for', async () => {
    const socket = join(folder, 'owned.socket')
    const ownership = ['--unix-listen-chmod', 'group', '--unix-listen-gid', '65534']
    await using _ = await DeviceProcess.ours([socket], [...ownership, ...flags])
    const { mode, gid } = statSync(socket)
    expect([mode & 0o777, gid]).toEqual([0o660, 65534])
  })

  test.skipIf(!IS_ROOT)('becomes somebody else, in all of its threads', async () => {
    const socket = join(folder, 'demoted.socket')
    await using device = await DeviceProcess.ours([socket], ['--run-as', '65534:65534', ...flags])
    const { readdirSync } = await import('node:fs')
    // The launcher is a shell that becomes the program.
    for (const thread of readdirSync(`/proc/${device.pid}/task`)) {
      const status = readFileSync(`/proc/${device.pid}/task/${thread}/status`, 'utf8')
      expect(status).toMatch(/Uid:\t65534\t65534\t65534/)
      expect(status).toMatch(/Gid:\t65534\t65534\t65534/)
      expect(status).toMatch(/Groups:\t65534 \n/)
      expect(status).toMatch(/CapEff:\t0+\n/)
      expect(status).toMatch(/Seccomp:\t2/)
    }
  })

  test('a confined process starts no programs, but threads', async () => {
    const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', CONFINED])
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual({
      before: 0,
      failed: 0,
      after: 'EPERM',
      worker: 'lives',
      filtered: true,
    })
  })

  test.skipIf(!IS_ROOT)('whom --run-as names must exist, or nothing is left behind', async () => {
    const socket = join(folder, 'nobody.socket')
    const { code, stderr } = await run(TVIX_STORE, [
      'virtiofs',
      '--run-as',
      'no-such-user:no-such-group',
      ...flags,
      socket,
    ])
    expect({ code, stderr }).toMatchObject({ code: 77, stderr: expect.stringContaining('no-such') })
    expect(existsSync(socket)).toBe(false)
  })

  test('says what is wrong with --run-as', async () => {
    for (const user of ['nobody', 'a:b:c', ':x'])
      expect(await run(TVIX_STORE, ['virtiofs', '--run-as', user, join(folder, 'x.socket')])).toMatchObject({
        code: 64,
        stderr: expect.stringContaining('<user>:<group>'),
      })
  })
})
