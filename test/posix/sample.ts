/**
 * The tree that the POSIX suites expect below the directory they are given, as plain data, so that any
 * implementation can store it and mount it.
 */
export type SampleNode =
  | { readonly kind: 'directory'; readonly entries: ReadonlyMap<string, SampleNode> }
  | { readonly kind: 'file'; readonly contents: Uint8Array; readonly executable: boolean }
  | { readonly kind: 'symlink'; readonly target: Uint8Array }

/** Names are `latin1` strings: one character a byte. */
export type SampleDirectory = Extract<SampleNode, { kind: 'directory' }>

export function directory(entries: Readonly<Record<string, SampleNode>>): SampleDirectory {
  return { kind: 'directory', entries: new Map(Object.entries(entries)) }
}

export function file(contents: string | Uint8Array, executable = false): SampleNode {
  const bytes = typeof contents === 'string' ? Buffer.from(contents, 'latin1') : contents
  return { kind: 'file', contents: bytes, executable }
}

export function symlink(target: string): SampleNode {
  return { kind: 'symlink', target: Buffer.from(target, 'latin1') }
}

function filled(count: number, prefix: string): SampleDirectory {
  const entries: [string, SampleNode][] = []
  for (let i = 0; i < count; i++) entries.push([`${prefix}${i}`, file(`${i}\n`)])
  return { kind: 'directory', entries: new Map(entries) }
}

export const BIG_FILE_BYTES = 5 * 1024 * 1024 + 123
export const DEPTH = 60

/** Bytes whose value tells their place: byte i is (i × 31 + (i >> 8) × 7) mod 251. */
export function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7) % 251
  return bytes
}

function oneByteNames(): SampleDirectory {
  const entries: [string, SampleNode][] = []
  for (let byte = 1; byte < 256; byte++) {
    const name = String.fromCharCode(byte)
    if (name !== '/' && name !== '.') entries.push([name, file(String(byte))])
  }
  return { kind: 'directory', entries: new Map(entries) }
}

function nested(depth: number): SampleDirectory {
  let inner = directory({ bottom: file('reached\n') })
  for (let i = 0; i < depth; i++) inner = directory({ d: inner })
  return inner
}

/** `l0` leads to `l1` and so on to a file: `l1` is 40 links away from it (the kernel follows 40), `l0` is 41. */
function linkChain(): SampleDirectory {
  const entries: [string, SampleNode][] = [['end', file('end\n')]]
  for (let i = 0; i <= 40; i++) entries.push([`l${i}`, symlink(i === 40 ? 'end' : `l${i + 1}`)])
  return { kind: 'directory', entries: new Map(entries) }
}

/** `program`: an executable of the machine (such as /bin/true), to be run from the mount. */
export function sampleTree(program: Uint8Array): SampleDirectory {
  return directory({
    empty: directory({}),
    one: filled(1, 'f'),
    two: filled(2, 'f'),
    some: filled(168, 'entry-'),
    many: filled(10_000, 'a-rather-ordinary-file-name-'),
    mixed: directory({ dir: directory({}), file: file('x'), run: file('y', true), link: symlink('file') }),
    bytes: oneByteNames(),
    names: directory({
      'not-utf8-\xff\xfe': file('latin'),
      ['n'.repeat(255)]: file('longest'),
      'with space\nand newline': file('space'),
    }),
    files: directory({
      empty: file(''),
      hello: file('hello, world\n'),
      page: file(pattern(4096)),
      'page-and-one': file(pattern(4097)),
      big: file(pattern(BIG_FILE_BYTES)),
    }),
    run: directory({
      'script.sh': file('#!/bin/sh\necho "ran with $1"\n', true),
      program: file(program, true),
      'not-executable': file('#!/bin/sh\n'),
    }),
    links: directory({
      file: symlink('../files/hello'),
      directory: symlink('../files'),
      dangling: symlink('nowhere'),
      loop: symlink('loop'),
      absolute: symlink('/proc/self'),
      'not-utf8': symlink('\xff\xfe'),
      longest: symlink(`${'x/'.repeat(2047)}x`),
      chain: linkChain(),
    }),
    deep: nested(DEPTH),
  })
}
