import { expect } from 'vitest'
import type { Case } from '../conformance/suite.ts'
import { type MountedSample, PYTHON_PRELUDE } from './mounted.ts'
import { DEPTH } from './sample.ts'

/** Finding names: what is there, what is not, and the errors in between. */
export const lookupCases: readonly Case<MountedSample>[] = [
  ...(
    [
      ['an absent name', `p('files', 'absent')`, 'ENOENT'],
      ['an absent name, again', `p('files', 'absent')`, 'ENOENT'],
      ['below an absent directory', `p('absent', 'x')`, 'ENOENT'],
      ['through a file', `p('files', 'hello', 'x')`, 'ENOTDIR'],
      ['a file with a slash behind it', `p('files', 'hello') + b'/'`, 'ENOTDIR'],
      ['a directory with a slash behind it', `p('files') + b'/'`, 'ok'],
      ['a name of 255 bytes', `p('names', 'n' * 255)`, 'ok'],
      ['an absent name of 255 bytes', `p('names', 'm' * 255)`, 'ENOENT'],
      ['a name of 256 bytes', `p('names', 'n' * 256)`, 'ENAMETOOLONG'],
      ['a path above 4095 bytes', `p('./' * 2100 + 'files')`, 'ENAMETOOLONG'],
      ['dots', `p('files', '.', '..', 'files', 'hello')`, 'ok'],
      ['names that are not UTF-8', `os.path.join(p('names'), b'not-utf8-\\xff\\xfe')`, 'ok'],
      ['a link to a file', `p('links', 'file')`, 'ok'],
      ['through a link to a directory', `p('links', 'directory', 'hello')`, 'ok'],
      ['a link to nowhere', `p('links', 'dangling')`, 'ENOENT'],
      ['a link to itself', `p('links', 'loop')`, 'ELOOP'],
      ['through a link to itself', `p('links', 'loop', 'x')`, 'ELOOP'],
      ['40 links', `p('links', 'chain', 'l1')`, 'ok'],
      ['41 links', `p('links', 'chain', 'l0')`, 'ELOOP'],
      ['a link whose target is too long a path', `p('links', 'longest')`, 'ENOENT'],
    ] as const
  ).map(([title, path, expected]) => ({
    title,
    async run(sample: MountedSample) {
      expect(await python(sample, `done(outcome(lambda: os.stat(${path})))`)).toBe(expected)
    },
  })),

  {
    title: 'every name of one byte is found and leads to its own file',
    async run(sample) {
      const wrong = await python(
        sample,
        `
wrong = []
for byte in range(1, 256):
    if byte in b'/.': continue
    with open(os.path.join(p('bytes'), bytes([byte])), 'rb') as f:
        if f.read() != str(byte).encode(): wrong.append(byte)
done(wrong)`,
      )
      expect(wrong).toEqual([])
    },
  },

  {
    title: `goes ${DEPTH} directories deep and back`,
    async run(sample) {
      const result = await python(
        sample,
        `
os.chdir(os.path.join(d, b'deep', b'/'.join([b'd'] * ${DEPTH})))
inside = open('bottom').read(); cwd = os.getcwdb() == os.path.join(d, b'deep', b'/'.join([b'd'] * ${DEPTH}))
os.chdir(b'../' * ${DEPTH + 1}); done([inside, cwd, os.path.samefile('.', d)])`,
      )
      expect(result).toEqual(['reached\n', true, true])
    },
  },

  {
    title: 'reads links as they are, whatever they lead to',
    async run(sample) {
      const targets = await python(
        sample,
        `
done([os.readlink(p('links', n)).decode('latin1') for n in ('file', 'dangling', 'loop', 'absolute', 'not-utf8')])`,
      )
      expect(targets).toEqual(['../files/hello', 'nowhere', 'loop', '/proc/self', '\xff\xfe'])
      expect(await python(sample, `done(len(os.readlink(p('links', 'longest'))))`)).toBe(4095)
      expect(await python(sample, `done(outcome(lambda: os.readlink(p('files', 'hello'))))`)).toBe('EINVAL')
    },
  },
]

function python(sample: MountedSample, script: string): Promise<unknown> {
  return sample.python(PYTHON_PRELUDE + script, sample.dir)
}
