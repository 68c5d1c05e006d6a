import { once } from 'node:events'
import { mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ChildMount, MountNamespace, whyNoMounts } from '../support/mount.ts'
import { hasProgram } from '../support/requirements.ts'

const reason = whyNoMounts()

describe.skipIf(reason)(`the life of a mount${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let namespace: MountNamespace
  let target: string

  beforeEach(async () => {
    namespace = await MountNamespace.create()
    target = await namespace.directory('mnt')
  })
  afterEach(async () => {
    await namespace[Symbol.asyncDispose]()
  })

  const mountedThere = async () =>
    (await namespace.run('grep', '-c', ` ${target} `, '/proc/self/mountinfo')).stdout.trim()

  /** Runs `work` and answers with how long it took, in seconds. */
  async function seconds(work: () => Promise<unknown>): Promise<number> {
    const start = performance.now()
    await work()
    return (performance.now() - start) / 1000
  }

  describe('where to mount', () => {
    it('refuses a directory that does not exist, and says how to make it', async () => {
      await expect(namespace.mount('stuck', join(target, 'absent'))).rejects.toMatchObject({
        code: 'not-found',
        message: expect.stringContaining('mkdir -p'),
      })
    })

    it('refuses a file', async () => {
      await writeFile(join(namespace.folder, 'file'), '')
      await expect(namespace.mount('stuck', join(namespace.folder, 'file'))).rejects.toMatchObject({
        code: 'invalid-argument',
      })
    })

    it('refuses a directory that is not empty', async () => {
      await mkdir(join(target, 'something'))
      await expect(namespace.mount('stuck', target)).rejects.toMatchObject({
        code: 'precondition',
        message: expect.stringContaining('not empty'),
      })
    })

    it('refuses the place of another mount', async () => {
      await namespace.run('mount', '-t', 'tmpfs', 'other', target)
      await expect(namespace.mount('stuck', target)).rejects.toMatchObject({
        code: 'precondition',
        message: expect.stringContaining('tmpfs'),
      })
    })

    it('refuses to mount twice, and the first goes on', async () => {
      await namespace.mount('stuck', target)
      await expect(namespace.mount('stuck', `${target}/../mnt/`)).rejects.toMatchObject({
        code: 'precondition',
        message: expect.stringContaining('already mounted'),
      })
      expect((await namespace.run('cat', join(target, 'other'))).stdout).toBe('fine\n')
    })

    it('clears away what a killed process left behind', async () => {
      const killed = await namespace.mount('stuck', target)
      killed.kill('SIGKILL')
      await killed.ended
      expect((await namespace.run('ls', target)).stderr).toContain('not connected')
      const mount = await namespace.mount('stuck', target)
      expect((await namespace.run('cat', join(target, 'other'))).stdout).toBe('fine\n')
      await mount.stop()
      expect(await mountedThere()).toBe('0')
    })

    it('follows a link to the mount point, and odd characters in its name', async () => {
      const odd = await namespace.directory('odd \\ name\t')
      await namespace.run('ln', '-s', odd, join(namespace.folder, 'link'))
      const mount = await namespace.mount('stuck', join(namespace.folder, 'link'))
      expect((await namespace.run('cat', join(odd, 'other'))).stdout).toBe('fine\n')
      await mount.stop()
      expect((await namespace.run('ls', '-A', odd)).stdout).toBe('')
    })

    it('is mounted read-only, without devices and setuid (S1)', async () => {
      await namespace.mount('stuck', target, { allowOther: false })
      const { stdout } = await namespace.run('grep', ` ${target} `, '/proc/self/mountinfo')
      expect(stdout).toMatch(
        / ro,nosuid,nodev,noatime .*- fuse tvix-store ro,.*default_permissions,max_read=1048576/,
      )
      expect(stdout).not.toContain('allow_other')
    })

    it('lets other users in only when asked to (S2)', async () => {
      const user = [
        'setpriv',
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        'cat',
        join(target, 'other'),
      ]
      await namespace.run('chmod', '755', namespace.folder)
      const closed = await namespace.mount('stuck', target, { allowOther: false })
      expect((await namespace.run(user[0]!, ...user.slice(1))).stderr).toContain('Permission denied')
      await closed.stop()
      await namespace.mount('stuck', target, { allowOther: true })
      expect((await namespace.run(user[0]!, ...user.slice(1))).stdout).toBe('fine\n')
    })

    it('reads a large file in requests of up to 1 MiB', async () => {
      const mount = await namespace.mount('sample', target)
      await namespace.run('dd', `if=${target}/files/big`, 'of=/dev/null', 'bs=1M')
      const { stats } = await mount.counts()
      expect(stats.bytesRead).toBeGreaterThanOrEqual(5 * 1024 * 1024)
      expect(Object.entries(stats.requests).find(([name]) => name === 'READ')![1]).toBeLessThan(14)
    })
  })

  describe('ends', () => {
    it('on SIGTERM, and leaves nothing', async () => {
      const mount = await namespace.mount('stuck', target)
      expect(await seconds(() => mount.stop())).toBeLessThan(10)
      expect(await mount.ended).toBe(0)
      expect(await mountedThere()).toBe('0')
    })

    it('on SIGTERM under 64 readers: they get an error, the process ends', async () => {
      const mount = await namespace.mount('sample', target)
      const load = Array.from({ length: 64 }, () =>
        namespace.run(
          'sh',
          '-c',
          `while find ${target}/some ${target}/files -type f -exec cat {} + >/dev/null; do :; done`,
        ),
      )
      await namespace.run('cat', `${target}/files/big`)
      expect(await seconds(() => mount.stop())).toBeLessThan(10)
      expect(await mount.ended).toBe(0)
      for (const { status } of await Promise.all(load)) expect(status).toBe(0)
      expect(await mountedThere()).toBe('0')
    })

    it('on SIGTERM although somebody waits for an answer that never comes', async () => {
      const mount = await namespace.mount('stuck', target)
      const waiting = namespace.run('cat', join(target, 'stuck'), join(target, 'stuck-file'))
      await untilCounted(mount, 'LOOKUP')
      expect(await seconds(() => mount.stop())).toBeLessThan(10)
      expect((await waiting).status).toBe(1)
      expect(await mountedThere()).toBe('0')
    })

    it('when somebody else unmounts it', async () => {
      const mount = await namespace.mount('stuck', target)
      await namespace.run('umount', target)
      expect(await mount.message()).toEqual({ end: 'elsewhere' })
      expect(await mount.ended).toBe(0)
    })

    it('when its connection is aborted: waiters are released, the mount goes', async () => {
      const mount = await namespace.mount('stuck', target)
      const waiting = namespace.run('cat', join(target, 'stuck'))
      await untilCounted(mount, 'LOOKUP')
      await namespace.run('mount', '-t', 'fusectl', 'none', '/sys/fs/fuse/connections')
      const { stdout } = await namespace.run('grep', ` ${target} `, '/proc/self/mountinfo')
      const minor = stdout.split(' ')[2]!.split(':')[1]
      await namespace.run('sh', '-c', `echo 1 > /sys/fs/fuse/connections/${minor}/abort`)
      expect((await waiting).status).toBe(1)
      expect(await mount.message()).toEqual({ end: 'elsewhere' })
      expect(await mountedThere()).toBe('0')
    })

    it('without touching what was mounted over it since', async () => {
      const mount = await namespace.mount('stuck', target)
      await namespace.run('mount', '-t', 'tmpfs', 'other', target)
      await mount.stop()
      expect((await namespace.run('sh', '-c', `tail -n1 /proc/self/mountinfo`)).stdout).toContain('tmpfs')
    })

    it('keeps the device from its children: none of its descriptors survives exec (T11)', async () => {
      const { pid } = await namespace.mount('stuck', target)
      const flags: number[] = []
      for (const fd of await readdir(`/proc/${pid}/fd`)) {
        if ((await readlink(`/proc/${pid}/fd/${fd}`)) !== '/dev/fuse') continue
        const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8')
        flags.push(Number.parseInt(/^flags:\s*(\d+)/m.exec(info)![1]!, 8))
      }
      expect(flags).toHaveLength(1)
      // O_CLOEXEC | O_NONBLOCK
      expect(flags[0]! & 0o2004000).toBe(0o2004000)
    })
  })

  describe('no call hangs', () => {
    const interrupted = (call: string) => `
import errno, json, os, signal, sys, time
class Interrupted(Exception): pass
def handler(*_): raise Interrupted
signal.signal(signal.SIGALRM, handler); signal.siginterrupt(signal.SIGALRM, True)
start = time.monotonic(); signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    ${call}
    outcome = 'ok'
except Interrupted: outcome = 'interrupted'
except OSError as e: outcome = errno.errorcode[e.errno]
print(json.dumps([outcome, time.monotonic() - start < 1.2]))`

    it.each([
      ['stat', `os.stat(sys.argv[1] + '/stuck')`],
      ['open', `os.open(sys.argv[1] + '/stuck', os.O_RDONLY)`],
      [
        'read (O_DIRECT)',
        `import mmap; os.preadv(os.open(sys.argv[1] + '/stuck-file', os.O_RDONLY | os.O_DIRECT), [mmap.mmap(-1, 4096)], 0)`,
      ],
    ])('a signal ends a %s that waits, within a second', async (_, call) => {
      await namespace.mount('stuck', target)
      expect(await namespace.python(interrupted(call), target)).toEqual(['interrupted', true])
    })

    it('a process that waits for a page can be killed within a second', async () => {
      await namespace.mount('stuck', target)
      const killed = () => namespace.run('timeout', '-s', 'TERM', '0.2', 'cat', join(target, 'stuck-file'))
      expect(await seconds(killed)).toBeLessThan(1.5)
    })

    it('what waits too long fails with ETIMEDOUT; everything else goes on', async () => {
      await namespace.mount('stuck', target, { callMs: 500 })
      const waiting = namespace.run('cat', join(target, 'stuck'))
      expect((await namespace.run('cat', join(target, 'other'))).stdout).toBe('fine\n')
      expect((await waiting).stderr).toContain('timed out')
      const read = await namespace.run('cat', join(target, 'stuck-file'))
      expect(read.status).toBe(1)
    })
  })

  it('a name that is gone is forgotten when nobody looks for names, and nobody waits behind it', async () => {
    const mount = await namespace.mount('stuck', target)
    const lookups = async () => (await mount.counts()).stats.requests['LOOKUP'] ?? 0
    expect((await namespace.run('cat', join(target, 'other'))).stdout).toBe('fine\n')
    const before = await lookups()
    const stuck = namespace.spawn('sh', '-c', 'echo $$; exec stat "$0"', join(target, 'stuck'))
    const [pid] = await once(stuck.stdout, 'data')
    await expect.poll(lookups).toBe(before + 1)
    mount.kill('SIGUSR1')
    // Known names and new ones are found all the same.
    expect((await namespace.run('cat', join(target, 'other'))).stdout).toBe('fine\n')
    expect((await namespace.run('stat', join(target, 'absent'))).stderr).toContain('No such file')
    process.kill(Number(pid), 'SIGKILL')
    await once(stuck, 'close')
    const after = await lookups()
    await expect
      .poll(async () => {
        await namespace.run('stat', join(target, 'other'))
        return await lookups()
      })
      .toBeGreaterThan(after)
    await mount.stop()
  })

  describe.skipIf(!hasProgram('fusermount3'))('without privileges, through fusermount3', () => {
    const USER = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']

    /** Lets the user have the mount point and, as on any desktop, /dev/fuse (only in this namespace). */
    async function prepare(): Promise<void> {
      const device = join(namespace.folder, 'fuse')
      await namespace.run('mknod', '-m', '666', device, 'c', '10', '229')
      await namespace.run('mount', '--bind', device, '/dev/fuse')
      await namespace.run('chmod', '755', namespace.folder)
      await namespace.run('chown', '65534', target)
    }

    it('mounts and unmounts', async () => {
      await prepare()
      const mount = await namespace.mount('stuck', target, { allowOther: false }, USER)
      const read = await namespace.run(USER[0]!, ...USER.slice(1), 'cat', join(target, 'other'))
      expect(read.stdout).toBe('fine\n')
      await mount.stop()
      expect(await mountedThere()).toBe('0')
    })

    it('passes on why it may not let others in', async () => {
      await prepare()
      const refused = namespace.mount('stuck', target, { allowOther: true }, USER)
      await expect(refused).rejects.toMatchObject({
        code: 'denied',
        message: expect.stringContaining('user_allow_other'),
      })
    })
  })

  it('new entries of the root show up in a listing that the kernel had cached', async () => {
    const mount = await namespace.mount('growing', target)
    const list = async () => (await namespace.run('ls', target)).stdout
    expect(await list()).toBe('first\n')
    mount.kill('SIGUSR1')
    await expect.poll(list, { timeout: 5000, interval: 100 }).toBe('first\nsecond\n')
  })

  async function untilCounted(mount: ChildMount, opcode: string): Promise<void> {
    await expect.poll(async () => (await mount.counts()).stats.requests[opcode] ?? 0).toBeGreaterThan(0)
  }
})
