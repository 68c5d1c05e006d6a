import { expect, it } from 'vitest'
import { type MountedSample, PYTHON_PRELUDE } from './mounted.ts'
import { BIG_FILE_BYTES } from './sample.ts'

const CONTENTS = `${PYTHON_PRELUDE}
def expected(at, n): return bytes((i * 31 + (i >> 8) * 7) % 251 for i in range(at, at + n))
SIZE = ${BIG_FILE_BYTES}
big = p('files/big')
def fresh():
    """A descriptor of the big file without its pages."""
    fd = os.open(big, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return fd
`

/** Reading, mapping and running files. */
export function contentsSuite(sample: () => MountedSample): void {
  const python = (script: string) => sample().python(CONTENTS + script, sample().dir)

  it('reads files from end to end: nothing, something, a page, one more, many', async () => {
    const result = await python(`
def read(name):
    with open(p('files', name), 'rb') as f: return f.read()
done([read('empty') == b'', read('hello') == b'hello, world\\n', read('page') == expected(0, 4096),
  read('page-and-one') == expected(0, 4097), read('big') == expected(0, SIZE)])`)
    expect(result).toEqual([true, true, true, true, true])
  })

  it('reads at any place, also at and behind the end', async () => {
    const result = await python(`
import random
random.seed(7); fd = fresh(); wrong = 0
for _ in range(500):
    at = random.randrange(SIZE + 100); n = random.choice([1, 100, 4096, 70000])
    if os.pread(fd, n, at) != expected(at, max(0, min(n, SIZE - at))): wrong += 1
done([wrong, len(os.pread(fd, 10, SIZE)), len(os.pread(fd, 10, 2 ** 40))])`)
    expect(result).toEqual([0, 0, 0])
  })

  it('reads past the page cache (O_DIRECT), or says that it cannot', async () => {
    const result = await python(`
try:
    fd = os.open(big, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 20); n = os.preadv(fd, [buffer], 4096)
    done([n, buffer[:n] == expected(4096, n)])
except OSError as e:
    done([1 << 20, e.errno == errno.EINVAL])`)
    expect(result).toEqual([1 << 20, true])
  })

  it('maps files, privately and shared, but not for writing', async () => {
    const result = await python(`
fd = fresh()
with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED) as m: shared = m[4090:4200] == expected(4090, 110)
with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as m: tail = m[SIZE - 5:SIZE] == expected(SIZE - 5, 5)
def copy_on_write():
    with mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_PRIVATE) as m: m[0] = 99
def write():
    mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_SHARED)
done([shared, tail, outcome(copy_on_write), outcome(write), os.pread(fd, 1, 0) == expected(0, 1)])`)
    expect(result).toEqual([true, true, 'ok', 'EACCES', true])
  })

  it('has no holes (generic/285)', async () => {
    const result = await python(`
fd = fresh()
done([os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_HOLE) == SIZE, outcome(lambda: os.lseek(fd, SIZE, os.SEEK_DATA))])`)
    expect(result).toEqual([0, true, 'ENXIO'])
  })

  it('copies out by sendfile and copy_file_range', async () => {
    const result = await python(`
import tempfile
fd = fresh(); out = tempfile.TemporaryFile(); n = 0
while n < SIZE: n += os.sendfile(out.fileno(), fd, n, SIZE - n)
out.seek(0); sent = out.read() == expected(0, SIZE)
out2 = tempfile.TemporaryFile(); k = os.copy_file_range(fd, out2.fileno(), 100000, 0)
out2.seek(0); done([sent, out2.read() == expected(0, k)])`)
    expect(result).toEqual([true, true])
  })

  it('many readers at once get what is theirs', async () => {
    const result = await python(`
import concurrent.futures, random
def work(seed):
    r = random.Random(seed); fd = fresh(); wrong = 0
    for _ in range(40):
        at = r.randrange(SIZE - 5000)
        if os.pread(fd, 5000, at) != expected(at, 5000): wrong += 1
    os.close(fd); return wrong
with concurrent.futures.ThreadPoolExecutor(16) as pool: done(sum(pool.map(work, range(32))))`)
    expect(result).toBe(0)
  })

  it('locks work as on any file', async () => {
    const result = await python(`
fd = fresh(); other = fresh()
fcntl.flock(fd, fcntl.LOCK_EX); busy = outcome(lambda: fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB))
fcntl.flock(fd, fcntl.LOCK_UN); free = outcome(lambda: fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB))
done([busy, free, outcome(lambda: fcntl.lockf(fd, fcntl.LOCK_SH))])`)
    expect(result).toEqual(['EAGAIN', 'ok', 'ok'])
  })

  it('flushing what was never written is fine', async () => {
    const result = await python(`
fd = fresh(); folder = os.open(p('files'), os.O_RDONLY)
done([outcome(lambda: os.fsync(fd)), outcome(lambda: os.fdatasync(fd)), outcome(lambda: os.fsync(folder))])`)
    expect(result).toEqual(['ok', 'ok', 'ok'])
  })

  it('runs scripts and programs, and nothing that is not executable', async () => {
    const { dir, run } = sample()
    expect(await run(`${dir}/run/script.sh`, 'me')).toMatchObject({ status: 0, stdout: 'ran with me\n' })
    expect(await run(`${dir}/run/program`)).toMatchObject({ status: 0 })
    const refused = await python(`done(outcome(lambda: os.execv(p('run/not-executable'), ['x'])))`)
    expect(refused).toBe('EACCES')
  })
}
