import { expect } from 'vitest'
import type { Case } from '../conformance/suite.ts'
import { type MountedSample, PYTHON_PRELUDE } from './mounted.ts'

/** A reader of raw getdents64 with a buffer of any size: (offset, type, name) of each entry. */
const GETDENTS = `${PYTHON_PRELUDE}
import struct
def getdents(fd, size):
    buffer = ctypes.create_string_buffer(size)
    n = libc.syscall(217 if os.uname().machine == 'x86_64' else 61, fd, buffer, size)
    if n < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    entries, at = [], 0
    while at < n:
        ino, off, length, kind = struct.unpack_from('<QqHB', buffer, at)
        entries.append((off, kind, buffer.raw[at + 19:at + length].split(b'\\0')[0]))
        at += length
    return entries
def listing(fd, size=32768):
    everything = []
    while True:
        some = getdents(fd, size)
        if not some: return everything
        everything += some
def opened(*parts): return os.open(p(*parts), os.O_RDONLY | os.O_DIRECTORY)
`

/** Listing directories: xfstests generic/257, 310, 401, 471 and 676 in our words. */
export const readdirCases: readonly Case<MountedSample>[] = [
  ...(
    [
      ['empty', 0],
      ['one', 1],
      ['two', 2],
      ['some', 168],
      ['many', 10_000],
    ] as const
  ).map(([name, count]) => ({
    title: `lists all of ${name} (${count} entries), first and second time`,
    async run(sample: MountedSample) {
      const sizes = await python(
        sample,
        `done([len(set(os.listdir(p('${name}')))) for _ in range(2)] + [len(os.listdir(p('${name}')))])`,
      )
      expect(sizes).toEqual([count, count, count])
    },
  })),

  ...[280, 512, 4096, 32_768, 1 << 20].map((size) => ({
    title: `lists the same through a buffer of ${size} bytes`,
    async run(sample: MountedSample) {
      const result = await python(
        sample,
        `fd = opened('some'); names = [n for _, _, n in listing(fd, ${size})]; done([len(names), len(set(names))])`,
      )
      expect(result).toEqual([168, 168])
    },
  })),

  {
    title: 'refuses a buffer that is too small with EINVAL (getdents(2))',
    async run(sample) {
      expect(await python(sample, `fd = opened('some'); done(outcome(lambda: getdents(fd, 8)))`)).toBe(
        'EINVAL',
      )
    },
  },

  {
    title: 'generic/257: offsets are unique, and seeking to one goes on behind its entry',
    async run(sample) {
      const result = await python(
        sample,
        `
fd = opened('some'); entries = listing(fd)
wrong = 0
for i, (off, _, _) in enumerate(entries):
    os.lseek(fd, off, os.SEEK_SET)
    rest = getdents(fd, 4096)
    expected = entries[i + 1][2] if i + 1 < len(entries) else None
    if (rest[0][2] if rest else None) != expected: wrong += 1
done([len(set(o for o, _, _ in entries)), wrong])`,
      )
      expect(result).toEqual([168, 0])
    },
  },

  {
    title: 'generic/676: seeks in the middle of a large directory, also after its caches were dropped',
    async run(sample) {
      const result = await python(
        sample,
        `
fd = opened('many'); entries = listing(fd)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
os.lseek(fd, entries[7000][0], os.SEEK_SET)
after = [n for _, _, n in getdents(fd, 4096)][:3]
done([[n.decode() for n in after], [n.decode() for _, _, n in entries[7001:7004]]])`,
      )
      expect((result as string[][])[0]).toEqual((result as string[][])[1])
    },
  },

  {
    title: 'generic/471: rewinding lists everything again',
    async run(sample) {
      const result = await python(
        sample,
        `
fd = opened('some'); first = listing(fd); os.lseek(fd, 0, os.SEEK_SET); second = listing(fd)
done(first == second and len(first) == 168)`,
      )
      expect(result).toBe(true)
    },
  },

  {
    title: 'generic/310: two readers of one descriptor never see an entry twice',
    async run(sample) {
      const result = await python(
        sample,
        `
import threading
fd = opened('many'); seen = []; lock = threading.Lock()
def work():
    while True:
        some = getdents(fd, 4096)
        if not some: return
        with lock: seen.extend(n for _, _, n in some)
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
done([len(seen), len(set(seen))])`,
      )
      expect(result).toEqual([10_000, 10_000])
    },
  },

  {
    title: 'generic/401: entries carry the type that stat gives',
    async run(sample) {
      const result = await python(
        sample,
        `
types = {n.decode(): k for _, k, n in listing(opened('mixed'))}
real = {n: stat.S_IFMT(os.lstat(p('mixed', n)).st_mode) >> 12 for n in types}
done([types, types == real])`,
      )
      expect(result).toEqual([{ dir: 4, file: 8, run: 8, link: 10 }, true])
    },
  },

  {
    title: 'lists in byte order, and names of any bytes',
    async run(sample) {
      const result = await python(
        sample,
        `
names = os.listdir(p('bytes')); odd = os.listdir(p('names'))
done([names == sorted(names), len(names), sorted(len(n) for n in odd), any(b'\\xff\\xfe' in n for n in odd)])`,
      )
      expect(result).toEqual([true, 253, [11, 22, 255], true])
    },
  },

  {
    title: 'refuses to list a file',
    async run(sample) {
      expect(await python(sample, `done(outcome(lambda: os.listdir(p('files', 'hello'))))`)).toBe('ENOTDIR')
    },
  },
]

function python(sample: MountedSample, script: string): Promise<unknown> {
  return sample.python(GETDENTS + script, sample.dir)
}
