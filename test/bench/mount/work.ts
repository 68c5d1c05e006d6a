/** What is done to a tree: each piece of work ends when all of it was done. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FILES_PER_DIRECTORY } from './fixture.ts'

export function find(path: string): void {
  execFileSync('find', [path, '-size', '+1000000G'])
}

export function readThrough(path: string): void {
  const buffer = Buffer.allocUnsafe(1024 * 1024)
  const file = openSync(path, 'r')
  while (readSync(file, buffer) > 0);
  closeSync(file)
}

export const RANDOM_READS = 100_000

export function readAtRandom(path: string): void {
  const buffer = Buffer.allocUnsafe(4096)
  const file = openSync(path, 'r')
  const pages = statSync(path).size / 4096
  let seed = 1
  for (let i = 0; i < RANDOM_READS; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    readSync(file, buffer, 0, 4096, (seed % pages) * 4096)
  }
  closeSync(file)
}

/** Opens, reads and closes all files of `directories` directories. */
export function readSmall(path: string, directories: number): void {
  const buffer = Buffer.allocUnsafe(4096)
  for (let d = 0; d < directories; d++)
    for (let f = 0; f < FILES_PER_DIRECTORY; f++) {
      const file = openSync(`${path}/d${d}/f${f}`, 'r')
      readSync(file, buffer)
      closeSync(file)
    }
}

/** Through a pipe: tar reads nothing when it writes to /dev/null. */
export function pack(path: string): void {
  execFileSync('sh', ['-c', 'tar -c -C "$0" -f - . | cat >/dev/null', path])
}

const UNPACKED = 'unpacked-'

/** Into a new folder in `folder`: nothing is deleted, which would slow down ext4 for minutes. */
export function unpack(archive: string, folder: string): string {
  const target = mkdtempSync(join(folder, UNPACKED))
  execFileSync('tar', ['-x', '-C', target, '-f', archive])
  return target
}

export function startPython(prefix: string): void {
  const env = { PATH: '/usr/bin:/bin', PYTHONHOME: prefix }
  execFileSync(join(prefix, 'bin/python3'), ['-c', 'import json, asyncio'], { env })
}

/** From the package of Debian. */
export function startMake(folder: string): void {
  execFileSync(join(folder, 'usr/bin/make'), ['--version'])
}

/** Makes the kernel forget names and inodes, and so what it has of files that nobody has open. */
export function dropInodes(): void {
  writeFileSync('/proc/sys/vm/drop_caches', '2')
}

/** Everything below `path` is in the page cache afterwards, but for what was unpacked there, which may be more than fits. */
export function warm(path: string): void {
  const script = 'find "$0" -xdev -name "$1*" -prune -o -type f -print0 | xargs -0 cat >/dev/null'
  execFileSync('sh', ['-c', script, path, UNPACKED])
}
