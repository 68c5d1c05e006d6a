/** `tvix-store mount` without root: through fusermount3, in a user namespace, and what is said where it cannot be. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { importedName, localStoreFlags, runOk, TVIX_STORE } from '../support/cli.ts'
import { whyNoMounts } from '../support/mount.ts'

const NOBODY = 65534
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']
const hasUserNamespaces =
  spawnSync(AS_NOBODY[0]!, [...AS_NOBODY.slice(1), 'unshare', '--user', '--map-root-user', 'true']).status ===
  0

const reason =
  whyNoMounts() ??
  (spawnSync('sh', ['-c', 'command -v setpriv fusermount3']).status === 0
    ? undefined
    : 'no setpriv or fusermount3')

/** Mounts, looks, tries to change something, unmounts; prints what it saw. */
const SESSION = `
store=$1; target=$2; path=$3; shift 3
"$store" mount --list-root --ready-fd 5 "$@" "$target" 5>"$target.ready" 2>"$target.log" & pid=$!
while kill -0 $pid 2>/dev/null && [ ! -s "$target.ready" ]; do read -t 0.05 _ <>"$target.pipe" || :; done
cat "$target/$path/file" 2>&1
ls "$target"
mkdir "$target/new" 2>&1
kill $pid 2>/dev/null
wait $pid; echo "ended with $?"
grep -c " $target " /proc/self/mountinfo
cat "$target.log" >&2
`

describe.skipIf(reason)(reason ? `mounting as a user (skipped: ${reason})` : 'mounting as a user', () => {
  let folder: string
  let path: string
  let flags: string[]

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-user-'))
    chmodSync(folder, 0o755)
    const store = join(folder, 'store')
    mkdirSync(join(folder, 'source'))
    writeFileSync(join(folder, 'source/file'), 'contents\n')
    flags = localStoreFlags(store)
    path = await importedName(flags, join(folder, 'source'))
    await runOk('chown', ['-R', `${NOBODY}`, store])
  })

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  /** In a mount namespace of its own, where everybody may open /dev/fuse, as on any desktop. */
  async function session(name: string, before: string, as: readonly string[], ...more: string[]) {
    const target = join(folder, name)
    mkdirSync(target)
    chownSync(target, NOBODY, NOBODY)
    for (const file of ['ready', 'log', 'pipe']) {
      if (file === 'pipe') await runOk('mkfifo', [`${target}.${file}`])
      else writeFileSync(`${target}.${file}`, '')
      chownSync(`${target}.${file}`, NOBODY, NOBODY)
    }
    const script = `mknod -m 666 ${target}.fuse c 10 229 && mount --bind ${target}.fuse /dev/fuse; ${before}; exec "$@"`
    const command = [
      ...AS_NOBODY,
      ...as,
      'env',
      'PATH=/usr/bin:/bin',
      'HOME=/nonexistent',
      'bash',
      '-c',
      SESSION,
      'bash',
    ]
    const child = spawn(
      'unshare',
      [
        '--mount',
        '--propagation',
        'private',
        'timeout',
        '-s',
        'KILL',
        '100',
        'sh',
        '-c',
        script,
        'sh',
        ...command,
        TVIX_STORE,
        target,
        path,
        ...flags,
        ...more,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' },
    )
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    await once(child, 'close')
    return { lines: stdout.trim().split('\n'), stderr }
  }

  const SERVED = () => [
    'contents',
    path,
    expect.stringContaining('Read-only file system'),
    'ended with 0',
    '0',
  ]

  test('works through fusermount3', async () => {
    const { lines } = await session('helper', ':', [])
    expect(lines).toEqual(SERVED())
  })

  test.skipIf(!hasUserNamespaces)(
    hasUserNamespaces
      ? 'works in a user namespace, also for others in it'
      : 'in a user namespace (skipped: not allowed here)',
    async () => {
      const namespace = ['unshare', '--user', '--map-root-user', '--mount']
      expect((await session('namespace', ':', namespace)).lines).toEqual(SERVED())
      expect((await session('others', ':', namespace, '--allow-other')).lines).toEqual(SERVED())
    },
  )

  test('--allow-other says what /etc/fuse.conf must have', async () => {
    const conf = join(folder, 'fuse.conf')
    writeFileSync(conf, '')
    const forbidden = await session('forbidden', `mount --bind ${conf} /etc/fuse.conf`, [], '--allow-other')
    expect(forbidden.lines).toContain('ended with 77')
    expect(forbidden.stderr).toMatch(
      /user_allow_other.*let root add the line user_allow_other.*or leave out --allow-other/,
    )
    writeFileSync(conf, 'user_allow_other\n')
    const allowed = await session('allowed', `mount --bind ${conf} /etc/fuse.conf`, [], '--allow-other')
    expect(allowed.lines).toEqual(SERVED())
  })

  test('without a fusermount3 that works says what is missing', async () => {
    const gone = await session('gone', 'mount --bind /dev/null "$(command -v fusermount3)"', [])
    expect(gone.lines).toContain('ended with 77')
    expect(gone.stderr).toContain('which this user may not run (EACCES)')
    const copy = join(folder, 'not-setuid')
    const plain = await session(
      'plain',
      `cp "$(command -v fusermount3)" ${copy}; chmod 755 ${copy}; mount --bind ${copy} "$(command -v fusermount3)"`,
      [],
    )
    expect(plain.lines).toContain('ended with 77')
    expect(plain.stderr).toMatch(/fusermount3 failed: .*setuid/)
  })
})
