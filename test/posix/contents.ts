import { expect } from 'vitest'
import type { Case } from '../conformance/suite.ts'
import { type MountedSample, PYTHON_PRELUDE } from './mounted.ts'
import { BIG_FILE_BYTES } from './sample.ts'

const CONTENTS = `${PYTHON_PRELUDE}
PERIOD = bytes((i * 31 + (i >> 8) * 7) % 251 for i in range(256 * 251))
def expected(at, n):
    """As pattern() of sample.ts, which repeats: byte by byte an emulated Python would take most of the time of the suite."""
    at %= len(PERIOD)
    return (PERIOD * ((at + n) // len(PERIOD) + 1))[at:at + n]
SIZE = ${BIG_FILE_BYTES}
big = p('files/big')
def fresh():
    """A descriptor of the big file without its pages."""
    fd = os.open(big, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return fd
`

/** Reading, mapping and running files. */
export const contentsCases: readonly Case<MountedSample>[] = [
  {
    title: 'reads files from end to end: nothing, something, a page, one more, many',
    async run(sample) {
      const result = await python(
        sample,
        `
def read(name):
    with open(p('files', name), 'rb') as f: return f.read()
done([read('empty') == b'', read('hello') == b'hello, world\\n', read('page') == expected(0, 4096),
  read('page-and-one') == expected(0, 4097), read('big') == expected(0, SIZE)])`,
      )
      expect(result).toEqual([true, true, true, true, true])
    },
  },

  {
    title: 'reads at any place, also at and behind the end',
    async run(sample) {
      const result = await python(
        sample,
        `
import random
random.seed(7); fd = fresh(); wrong = 0
for _ in range(500):
    at = random.randrange(SIZE + 100); n = random.choice([1, 100, 4096, 70000])
    if os.pread(fd, n, at) != expected(at, max(0, min(n, SIZE - at))): wrong += 1
done([wrong, len(os.pread(fd, 10, SIZE)), len(os.pread(fd, 10, 2 ** 40))])`,
      )
      expect(result).toEqual([0, 0, 0])
    },
  },

  {
    title: 'reads past the page cache (O_DIRECT), or says that it cannot',
    async run(sample) {
      const result = await python(
        sample,
        `
try:
    fd = os.open(big, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 20); n = os.preadv(fd, [buffer], 4096)
    done([n, buffer[:n] == expected(4096, n)])
except OSError as e:
    done([1 << 20, e.errno == errno.EINVAL])`,
      )
      expect(result).toEqual([1 << 20, true])
    },
  },

  {
    title: 'maps files, privately and shared, but not for writing',
    async run(sample) {
      const result = await python(
        sample,
        `
fd = fresh()
with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED) as m: shared = m[4090:4200] == expected(4090, 110)
with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as m: tail = m[SIZE - 5:SIZE] == expected(SIZE - 5, 5)
def copy_on_write():
    with mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_PRIVATE) as m: m[0] = 99
def write():
    mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_SHARED)
done([shared, tail, outcome(copy_on_write), outcome(write), os.pread(fd, 1, 0) == expected(0, 1)])`,
      )
      expect(result).toEqual([true, true, 'ok', 'EACCES', true])
    },
  },

  {
    title: 'has no holes (generic/285)',
    async run(sample) {
      const result = await python(
        sample,
        `
fd = fresh()
done([os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_HOLE) == SIZE, outcome(lambda: os.lseek(fd, SIZE, os.SEEK_DATA))])`,
      )
      expect(result).toEqual([0, true, 'ENXIO'])
    },
  },

  {
    title: 'copies out by sendfile and splice',
    async run(sample) {
      const result = await python(
        sample,
        `
import tempfile
fd = fresh(); out = tempfile.TemporaryFile(); n = 0
while n < SIZE:
    k = os.sendfile(out.fileno(), fd, n, SIZE - n)
    if k == 0: break
    n += k
out.seek(0); sent = out.read() == expected(0, SIZE)
r, w = os.pipe(); k = os.splice(fd, w, 60000, offset_src=1000)
done([sent, k > 0 and os.read(r, k) == expected(1000, k)])`,
      )
      expect(result).toEqual([true, true])
    },
  },

  {
    title: 'many readers at once get what is theirs',
    async run(sample) {
      const result = await python(
        sample,
        `
import concurrent.futures, random
def work(seed):
    r = random.Random(seed); fd = fresh(); wrong = 0
    for _ in range(40):
        at = r.randrange(SIZE - 5000)
        if os.pread(fd, 5000, at) != expected(at, 5000): wrong += 1
    os.close(fd); return wrong
with concurrent.futures.ThreadPoolExecutor(16) as pool: done(sum(pool.map(work, range(32))))`,
      )
      expect(result).toBe(0)
    },
  },

  {
    title: 'locks work as on any file',
    async run(sample) {
      const result = await python(
        sample,
        `
fd = fresh(); other = fresh()
fcntl.flock(fd, fcntl.LOCK_EX); busy = outcome(lambda: fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB))
fcntl.flock(fd, fcntl.LOCK_UN); free = outcome(lambda: fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB))
done([busy, free, outcome(lambda: fcntl.lockf(fd, fcntl.LOCK_SH))])`,
      )
      expect(result).toEqual(['EAGAIN', 'ok', 'ok'])
    },
  },

  {
    title: 'flushing what was never written is fine',
    async run(sample) {
      const result = await python(
        sample,
        `
fd = fresh(); folder = os.open(p('files'), os.O_RDONLY)
done([outcome(lambda: os.fsync(fd)), outcome(lambda: os.fdatasync(fd)), outcome(lambda: os.fsync(folder))])`,
      )
      expect(result).toEqual(['ok', 'ok', 'ok'])
    },
  },

  {
    title: 'runs scripts and programs, and nothing that is not executable',
    async run(sample) {
      const { dir, run } = sample
      expect(await run(`${dir}/run/script.sh`, 'me')).toMatchObject({ status: 0, stdout: 'ran with me\n' })
      expect(await run(`${dir}/run/program`)).toMatchObject({ status: 0 })
      const refused = await python(sample, `done(outcome(lambda: os.execv(p('run/not-executable'), ['x'])))`)
      expect(refused).toBe('EACCES')
    },
  },
]

function python(sample: MountedSample, script: string): Promise<unknown> {
  return sample.python(CONTENTS + script, sample.dir)
}
