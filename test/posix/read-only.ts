import { expect } from 'vitest'
import type { Case } from '../conformance/suite.ts'
import { type MountedSample, PYTHON_PRELUDE } from './mounted.ts'

/** Python expressions that try to change what is at `x` (exists) or at `y` (does not); `t` is outside. */
const MUTATORS: Readonly<Record<string, string>> = {
  'open for writing': `os.open(x, os.O_WRONLY)`,
  'open for reading and writing': `os.open(x, os.O_RDWR)`,
  'open and truncate': `os.open(x, os.O_WRONLY | os.O_TRUNC)`,
  'open for appending': `os.open(x, os.O_WRONLY | os.O_APPEND)`,
  truncate: `os.truncate(x, 0)`,
  chmod: `os.chmod(x, 0o777)`,
  chown: `os.chown(x, 1, 1)`,
  lchown: `os.lchown(x, 1, 1)`,
  utime: `os.utime(x, (0, 0))`,
  'utime of a link': `os.utime(x, (0, 0), follow_symlinks=False)`,
  unlink: `os.unlink(x)`,
  rename: `os.rename(x, y)`,
  'rename over': `os.rename(x, p('files/page'))`,
  'rename, exchanging': `call('renameat2', -100, x, -100, p('files/page'), 2)`,
  'rename, not replacing': `call('renameat2', -100, x, -100, y, 1)`,
  link: `os.link(x, y)`,
  setxattr: `os.setxattr(x, 'user.a', b'b')`,
  'set a capability': `os.setxattr(x, 'security.capability', b'x' * 20)`,
  removexattr: `os.removexattr(x, 'user.a')`,
}

const CREATORS: Readonly<Record<string, string>> = {
  create: `os.open(y, os.O_WRONLY | os.O_CREAT)`,
  'create, exclusively': `os.open(y, os.O_WRONLY | os.O_CREAT | os.O_EXCL)`,
  'create for reading': `os.open(y, os.O_RDONLY | os.O_CREAT)`,
  mkdir: `os.mkdir(y)`,
  'make a fifo': `os.mkfifo(y)`,
  'make a device': `os.mknod(y, 0o666 | stat.S_IFCHR, os.makedev(1, 3))`,
  'make a socket': `os.mknod(y, 0o666 | stat.S_IFSOCK)`,
  symlink: `os.symlink('t', y)`,
}

/** What is not there, or already there, is told as on other filesystems. */
const SPECIAL: readonly (readonly [string, string, string])[] = [
  ['unlink what is absent', `os.unlink(p('files/absent'))`, 'EROFS'],
  ['rmdir', `os.rmdir(p('empty'))`, 'EROFS'],
  ['mkdir over a directory', `os.mkdir(p('empty'))`, 'EEXIST'],
  [
    'create over a file, exclusively',
    `os.open(p('files/hello'), os.O_CREAT | os.O_EXCL | os.O_WRONLY)`,
    'EEXIST',
  ],
  ['an unnamed file', `os.open(p('files'), os.O_TMPFILE | os.O_WRONLY)`, 'EROFS'],
  ['truncate what is absent', `os.truncate(p('files/absent'), 0)`, 'ENOENT'],
  ['chmod through a file', `os.chmod(p('files/hello/x'), 0)`, 'ENOTDIR'],
  ['write to a read-only descriptor', `os.write(os.open(p('files/hello'), os.O_RDONLY), b'x')`, 'EBADF'],
  ['ftruncate a read-only descriptor', `os.ftruncate(os.open(p('files/hello'), os.O_RDONLY), 0)`, 'EINVAL'],
  ['fchmod a descriptor', `os.fchmod(os.open(p('files/hello'), os.O_RDONLY), 0)`, 'EROFS'],
  [
    'fallocate a read-only descriptor',
    `os.posix_fallocate(os.open(p('files/hello'), os.O_RDONLY), 0, 9)`,
    'EBADF',
  ],
  ['rename into another filesystem', `os.rename(p('files/hello'), b'/dev/shm/tvix-store-never')`, 'EXDEV'],
]

/** Every change is refused with EROFS, before anything else is looked at. */
export const readOnlyCases: readonly Case<MountedSample>[] = [
  ...['files/hello', 'run/script.sh'].map((target) => ({
    title: `refuses all ${Object.keys(MUTATORS).length} changes to ${target}`,
    async run(sample: MountedSample) {
      expect(await outcomes(sample, target, 'files/absent', MUTATORS)).toEqual(all(MUTATORS))
    },
  })),

  {
    title: `refuses all ${Object.keys(MUTATORS).length} changes to a directory`,
    async run(sample) {
      expect(await outcomes(sample, 'files', 'absent', MUTATORS)).toEqual({
        ...all(MUTATORS),
        // Found out before the mount is asked whether it may be written (open(2), truncate(2)).
        'open for writing': 'EISDIR',
        'open for reading and writing': 'EISDIR',
        'open and truncate': 'EISDIR',
        'open for appending': 'EISDIR',
        truncate: 'EISDIR',
      })
    },
  },

  ...['absent', 'files/absent', 'empty/absent'].map((missing) => ({
    title: `creates nothing at ${missing}`,
    async run(sample: MountedSample) {
      expect(await outcomes(sample, 'files/hello', missing, CREATORS)).toEqual(all(CREATORS))
    },
  })),

  ...SPECIAL.map(([title, expression, expected]) => ({
    title,
    async run({ python, dir }: MountedSample) {
      expect(await python(`${PYTHON_PRELUDE}\ndone(outcome(lambda: ${expression}))`, dir)).toBe(expected)
    },
  })),
]

/** The outcome of every expression in `table`, by its name. */
function outcomes(
  { python, dir }: MountedSample,
  target: string,
  missing: string,
  table: Readonly<Record<string, string>>,
): Promise<unknown> {
  const lines = Object.entries(table).map(
    ([name, expression]) => `result[${JSON.stringify(name)}] = outcome(lambda: ${expression})`,
  )
  const start = `x = p('${target}'); y = p('${missing}'); result = {}`
  return python([PYTHON_PRELUDE, start, ...lines, 'done(result)'].join('\n'), dir)
}

function all(table: object): Record<string, string> {
  return Object.fromEntries(Object.keys(table).map((name) => [name, 'EROFS']))
}
