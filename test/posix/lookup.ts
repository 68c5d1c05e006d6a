import { expect, it } from 'vitest'
import { type MountedSample, PYTHON_PRELUDE } from './mounted.ts'
import { DEPTH } from './sample.ts'

/** Finding names: what is there, what is not, and the errors in between. */
export function lookupSuite(sample: () => MountedSample): void {
  const python = (script: string) => sample().python(PYTHON_PRELUDE + script, sample().dir)

  it.each([
    ['an absent name', `p('files', 'absent')`, 'ENOENT'],
    ['an absent name, again', `p('files', 'absent')`, 'ENOENT'],
    ['below an absent directory', `p('absent', 'x')`, 'ENOENT'],
    ['through a file', `p('files', 'hello', 'x')`, 'ENOTDIR'],
    ['a file with a slash behind it', `p('files', 'hello') + b'/'`, 'ENOTDIR'],
    ['a directory with a slash behind it', `p('files') + b'/'`, 'ok'],
    ['a name of 255 bytes', `p('names', 'n' * 255)`, 'ok'],
    ['an absent name of 255 bytes', `p('names', 'm' * 255)`, 'ENOENT'],
    ['a name of 256 bytes', `p('names', 'n' * 256)`, 'ENAMETOOLONG'],
    ['a path above 4095 bytes', `p('files/./' * 500 + 'hello')`, 'ENAMETOOLONG'],
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
  ])('%s', async (_, path, expected) => {
    expect(await python(`done(outcome(lambda: os.stat(${path})))`)).toBe(expected)
  })

  it('every name of one byte is found and leads to its own file', async () => {
    const wrong = await python(`
wrong = []
for byte in range(1, 256):
    if byte in b'/.': continue
    with open(os.path.join(p('bytes'), bytes([byte])), 'rb') as f:
        if f.read() != str(byte).encode(): wrong.append(byte)
done(wrong)`)
    expect(wrong).toEqual([])
  })

  it(`goes ${DEPTH} directories deep and back`, async () => {
    const result = await python(`
os.chdir(os.path.join(d, b'deep', b'/'.join([b'd'] * ${DEPTH})))
inside = open('bottom').read(); cwd = os.getcwdb() == os.path.join(d, b'deep', b'/'.join([b'd'] * ${DEPTH}))
os.chdir(b'../' * ${DEPTH + 1}); done([inside, cwd, os.path.samefile('.', d)])`)
    expect(result).toEqual(['reached\n', true, true])
  })

  it('reads links as they are, whatever they lead to', async () => {
    const targets = await python(`
done([os.readlink(p('links', n)).decode('latin1') for n in ('file', 'dangling', 'loop', 'absolute', 'not-utf8')])`)
    expect(targets).toEqual(['../files/hello', 'nowhere', 'loop', '/proc/self', '\xff\xfe'])
    expect(await python(`done(len(os.readlink(p('links', 'longest'))))`)).toBe(4095)
    expect(await python(`done(outcome(lambda: os.readlink(p('files', 'hello'))))`)).toBe('EINVAL')
  })
}
