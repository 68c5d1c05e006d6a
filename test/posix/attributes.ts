import { expect, it } from 'vitest'
import { type MountedSample, PYTHON_PRELUDE } from './mounted.ts'
import { BIG_FILE_BYTES } from './sample.ts'

/** What stat, statfs and access tell. */
export function attributesSuite(sample: () => MountedSample): void {
  const python = (script: string) => sample().python(PYTHON_PRELUDE + script, sample().dir)

  it.each([
    ['files', 0o040555],
    ['files/hello', 0o100444],
    ['run/script.sh', 0o100555],
    ['links/dangling', 0o120444],
  ])('%s has mode %i', async (name, mode) => {
    expect(await python(`done(os.lstat(p('${name}')).st_mode)`)).toBe(mode)
  })

  it.each([
    ['files/empty', 0],
    ['files/hello', 13],
    ['files/page', 4096],
    ['files/page-and-one', 4097],
    ['files/big', BIG_FILE_BYTES],
    ['links/file', 14],
  ])('%s has %i bytes and as many blocks', async (name, size) => {
    const fields = await python(`s = os.lstat(p('${name}')); done([s.st_size, s.st_blocks, s.st_blksize])`)
    expect(fields).toEqual([size, Math.ceil(size / 512), 4096])
  })

  it('times are those of a Nix store, links are one, devices none', async () => {
    const fields = await python(`
fields = set()
for name in ('files', 'files/hello', 'run/script.sh', 'links/file'):
    s = os.lstat(p(name)); fields.add((s.st_mtime_ns, s.st_atime_ns, s.st_ctime_ns, s.st_nlink, s.st_rdev))
done(list(fields))`)
    expect(fields).toEqual([[1_000_000_000, 0, 0, 1, 0]])
  })

  it('inode numbers are stable, also when the kernel forgets', async () => {
    const result = await python(`
names = ['files', 'files/hello', 'files/big', 'links/file']
before = [os.lstat(p(n)).st_ino for n in names]
open('/proc/sys/vm/drop_caches', 'w').write('2')
done([before == [os.lstat(p(n)).st_ino for n in names], len(set(before)), min(before) > 0])`)
    expect(result).toEqual([true, 4, true])
  })

  it('statfs and statvfs: a read-only filesystem with names of 255 bytes', async () => {
    const fields = await python(`
s = os.statvfs(d); done([s.f_namemax, s.f_bsize, bool(s.f_flag & os.ST_RDONLY), bool(s.f_flag & os.ST_NOSUID),
  bool(s.f_flag & os.ST_NODEV), s.f_bfree, s.f_bavail])`)
    expect(fields).toEqual([255, 4096, true, true, true, 0, 0])
  })

  it('access: reading for all, running what is executable, writing for nobody (generic/088)', async () => {
    const result = await python(`
def may(name, mode): return os.access(p(name), mode)
done([may('files/hello', os.R_OK), may('files/hello', os.W_OK), may('files/hello', os.X_OK),
  may('run/script.sh', os.X_OK), may('files', os.X_OK), may('files', os.W_OK), may('files/absent', os.F_OK)])`)
    expect(result).toEqual([true, false, false, true, true, false, false])
  })

  it('lists and reads extended attributes, if there are any, without a trap', async () => {
    const result = await python(`
path = p('files/hello'); names = os.listxattr(path); wrong = 0
for name in names:
    value = os.getxattr(path, name)
    small = ctypes.create_string_buffer(1)
    size = libc.getxattr(path, name.encode(), None, 0)
    if size != len(value): wrong += 1
    if len(value) > 1 and outcome(lambda: call('getxattr', path, name.encode(), small, 1)) != 'ERANGE': wrong += 1
missing = outcome(lambda: os.getxattr(path, 'user.no.such.attribute'))
done([wrong, missing, outcome(lambda: os.getxattr(d, 'user.no.such.attribute'))])`)
    expect(result).toEqual([0, 'ENODATA', 'ENODATA'])
  })

  it('file handles cannot be taken: they would mean other files after the next mount', async () => {
    const result = await python(`
handle = ctypes.create_string_buffer(136); ctypes.c_uint.from_buffer(handle).value = 128; mount_id = ctypes.c_int()
done(outcome(lambda: call('name_to_handle_at', -100, p('files/hello'), handle, ctypes.byref(mount_id), 0)))`)
    expect(result).toBe('EOPNOTSUPP')
  })
}
