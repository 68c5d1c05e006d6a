import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

/** A tree with one of everything that a store path may hold, made at `path`. */
export function makeSourceTree(path: string): void {
  mkdirSync(join(path, 'empty'), { recursive: true })
  mkdirSync(join(path, 'deep/er/and/deeper'), { recursive: true })
  writeFileSync(join(path, 'empty-file'), '')
  writeFileSync(join(path, 'file'), 'contents\n')
  writeFileSync(join(path, 'deep/er/and/deeper/file'), 'contents\n')
  writeFileSync(join(path, 'script'), '#!/bin/sh\necho "from a script: $1"\n')
  chmodSync(join(path, 'script'), 0o755)
  writeFileSync(join(path, 'same-contents-executable'), 'contents\n')
  chmodSync(join(path, 'same-contents-executable'), 0o755)
  symlinkSync('deep/er', join(path, 'link'))
  symlinkSync('/nowhere', join(path, 'dangling'))
  symlinkSync(Buffer.from([0xff, 0x2f, 0x80]), join(path, 'link-of-bytes'))
  writeFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from([0xff, 0x0a, 0x41])]), 'name of bytes')
  writeFileSync(join(path, 'x'.repeat(255)), 'longest name')
  // Several chunks, none like the other.
  const large = Buffer.alloc(5_000_001)
  for (let i = 0; i < large.length; i++) large[i] = (Math.imul(i, 2654435761) >>> 13) ^ (i >> 7)
  writeFileSync(join(path, 'large'), large)
}

/** A program with the libraries it needs, as a closure would have it: `bin/ls` and `lib/*`. */
export function makeProgramTree(path: string): void {
  mkdirSync(join(path, 'bin'), { recursive: true })
  mkdirSync(join(path, 'lib'))
  copyFileSync('/bin/ls', join(path, 'bin/ls'))
  chmodSync(join(path, 'bin/ls'), 0o755)
  const libraries = execFileSync('ldd', ['/bin/ls'], { encoding: 'utf8' }).match(/\/\S+/g) ?? []
  for (const library of libraries) {
    const copy = join(path, 'lib', basename(library))
    copyFileSync(library, copy)
    chmodSync(copy, 0o755)
  }
}
