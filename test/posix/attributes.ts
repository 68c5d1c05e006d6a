import { expect } from 'vitest'
import type { Case } from '../conformance/suite.ts'
import { type MountedSample, PYTHON_PRELUDE } from './mounted.ts'
import { BIG_FILE_BYTES } from './sample.ts'

/** What stat, statfs and access tell. */
export const attributesCases: readonly Case<MountedSample>[] = [
  ...(
    [
      ['files', 0o040555],
      ['files/hello', 0o100444],
      ['run/script.sh', 0o100555],
      ['links/dangling', 0o120444],
    ] as const
  ).map(([name, mode]) => ({
    title: `${name} has mode ${mode.toString(8)}`,
    async run(sample: MountedSample) {
      expect(await python(sample, `done(os.lstat(p('${name}')).st_mode)`)).toBe(mode)
    },
  })),

  ...(
    [
      ['files/empty', 0],
      ['files/hello', 13],
      ['files/page', 4096],
      ['files/page-and-one', 4097],
      ['files/big', BIG_FILE_BYTES],
      ['links/file', 14],
    ] as const
  ).map(([name, size]) => ({
    title: `${name} has ${size} bytes and as many blocks`,
    async run(sample: MountedSample) {
      const fields = await python(
        sample,
        `s = os.lstat(p('${name}')); done([s.st_size, s.st_blocks, s.st_blksize])`,
      )
      expect(fields).toEqual([size, Math.ceil(size / 512), 4096])
    },
  })),

  {
    title: 'times are those of a Nix store, links are one, devices none',
    async run(sample) {
      const fields = await python(
        sample,
        `
fields = set()
for name in ('files', 'files/hello', 'run/script.sh', 'links/file'):
    s = os.lstat(p(name)); fields.add((s.st_mtime_ns, s.st_atime_ns, s.st_ctime_ns, s.st_nlink, s.st_rdev))
done(list(fields))`,
      )
      expect(fields).toEqual([[1_000_000_000, 0, 0, 1, 0]])
    },
  },

  {
    title: 'inode numbers are stable, also when the kernel forgets',
    async run(sample) {
      const result = await python(
        sample,
        `
names = ['files', 'files/hello', 'files/big', 'links/file']
before = [os.lstat(p(n)).st_ino for n in names]
open('/proc/sys/vm/drop_caches', 'w').write('2')
done([before == [os.lstat(p(n)).st_ino for n in names], len(set(before)), min(before) > 0])`,
      )
      expect(result).toEqual([true, 4, true])
    },
  },

  {
    title: 'statfs and statvfs: a read-only filesystem with names of 255 bytes',
    async run(sample) {
      const fields = await python(
        sample,
        `
s = os.statvfs(d); done([s.f_namemax, s.f_bsize, bool(s.f_flag & os.ST_RDONLY), bool(s.f_flag & os.ST_NOSUID),
  bool(s.f_flag & os.ST_NODEV), s.f_bfree, s.f_bavail])`,
      )
      expect(fields).toEqual([255, 4096, true, true, true, 0, 0])
    },
  },

  {
    title: 'access: reading for all, running what is executable, writing for nobody (generic/088)',
    async run(sample) {
      const result = await python(
        sample,
        `
def may(name, mode): return os.access(p(name), mode)
done([may('files/hello', os.R_OK), may('files/hello', os.W_OK), may('files/hello', os.X_OK),
  may('run/script.sh', os.X_OK), may('files', os.X_OK), may('files', os.W_OK), may('files/absent', os.F_OK)])`,
      )
      expect(result).toEqual([true, false, false, true, true, false, false])
    },
  },

  {
    title: 'lists and reads extended attributes, if there are any, without a trap',
    async run(sample) {
      const result = await python(
        sample,
        `
path = p('files/hello'); names = os.listxattr(path); wrong = 0
for name in names:
    value = os.getxattr(path, name)
    small = ctypes.create_string_buffer(1)
    size = libc.getxattr(path, name.encode(), None, 0)
    if size != len(value): wrong += 1
    if len(value) > 1 and outcome(lambda: call('getxattr', path, name.encode(), small, 1)) != 'ERANGE': wrong += 1
missing = outcome(lambda: os.getxattr(path, 'user.no.such.attribute'))
done([wrong, missing, outcome(lambda: os.getxattr(d, 'user.no.such.attribute'))])`,
      )
      expect(result).toEqual([0, 'ENODATA', 'ENODATA'])
    },
  },

  {
    title: 'file handles cannot be taken: they would mean other files after the next mount',
    async run(sample) {
      const result = await python(
        sample,
        `
handle = ctypes.create_string_buffer(136); ctypes.c_uint.from_buffer(handle).value = 128; mount_id = ctypes.c_int()
done(outcome(lambda: call('name_to_handle_at', -100, p('files/hello'), handle, ctypes.byref(mount_id), 0)))`,
      )
      expect(result).toBe('ENOTSUP')
    },
  },
]

function python(sample: MountedSample, script: string): Promise<unknown> {
  return sample.python(PYTHON_PRELUDE + script, sample.dir)
}
