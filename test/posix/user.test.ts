/** The same promises to a user who is not root: on root's mount that lets others in, on a mount of their own, and in a user namespace. */
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync } from 'node:fs'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { type ChildMount, MountNamespace, type Outcome, whyNoMounts } from '../support/mount.ts'
import { posixCases } from './all.ts'
import type { MountedSample } from './mounted.ts'

const USER = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
/** What root has on the path may lie where nobody else may look. */
const PROGRAMS = ['env', 'PATH=/usr/bin:/bin']
const USER_ID = 65534

/** They drop the caches of the kernel, which only root may. */
const ROOT_ONLY: ReadonlySet<string> = new Set(['inode numbers are stable, also when the kernel forgets'])

const reason =
  whyNoMounts() ??
  (spawnSync('sh', ['-c', 'command -v setpriv fusermount3']).status ? 'no setpriv or fusermount3' : undefined)

function suite(
  title: string,
  begin: () => Promise<{ sample: MountedSample; end: () => Promise<void> }>,
): void {
  describe.skipIf(reason)(`POSIX, ${title}${reason ? ` (skipped: ${reason})` : ''}`, () => {
    let running: Awaited<ReturnType<typeof begin>>
    beforeAll(async () => {
      running = await begin()
    })
    afterAll(async () => {
      await running?.end()
    })
    for (const [name, cases] of Object.entries(posixCases))
      describe(name, () => {
        for (const { title, run } of cases) it.skipIf(ROOT_ONLY.has(title))(title, () => run(running.sample))
      })
  })
}

async function asUser(options: object, as: readonly string[]) {
  const namespace = await MountNamespace.create()
  await letUserMount(namespace)
  const target = await namespace.directory('mnt')
  chownSync(target, USER_ID, USER_ID)
  const mount = await namespace.mount('sample', target, options, as)
  return {
    sample: sampleOf(mount, (...command) =>
      namespace.run(USER[0]!, ...USER.slice(1), ...PROGRAMS, ...command),
    ),
    end: () => end(namespace, mount),
  }
}

async function end(namespace: MountNamespace, mount: ChildMount): Promise<void> {
  await mount.stop()
  await namespace[Symbol.asyncDispose]()
}

function sampleOf(mount: ChildMount, run: (...command: string[]) => Promise<Outcome>): MountedSample {
  return {
    dir: mount.target,
    run: (program, ...args) => run(program, ...args),
    async python(script, ...args) {
      const { status, stdout, stderr } = await run('python3', '-c', script, ...args)
      if (status !== 0) throw new Error(`python3 failed (${status}): ${stderr}`)
      return JSON.parse(stdout)
    },
  }
}

/** As on any desktop; only in this namespace. */
async function letUserMount(namespace: MountNamespace): Promise<void> {
  const device = `${namespace.folder}/fuse`
  await namespace.run('mknod', '-m', '666', device, 'c', '10', '229')
  await namespace.run('mount', '--bind', device, '/dev/fuse')
  chmodSync(namespace.folder, 0o755)
}

suite('as a user, on a mount of root', () => asUser({ allowOther: true }, []))
suite('as a user, on a mount of their own', () => asUser({ allowOther: false }, USER))
