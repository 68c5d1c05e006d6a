import { cpSync, readFileSync, symlinkSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { runOk } from './cli.ts'

const ROOT = join(import.meta.dirname, '../..')
const NODE_FOLDER = join(ROOT, 'node_modules/.bin')

/** The variables with which a shell finds this checkout's Node, and these programs before others. */
export function pathWith(folder: string): Record<string, string> {
  return { PATH: `${folder}:${NODE_FOLDER}:${process.env['PATH']}` }
}

/**
 * Builds the package below `folder` and installs it as `npm install -g` does; returns where its programs are. What it depends on
 * is what the checkout has: tests need no registry.
 */
export async function installBuilt(folder: string): Promise<string> {
  const [checkout, unpacked, prefix] = ['checkout', 'unpacked', 'prefix'].map((name) => join(folder, name))
  await mkdir(checkout!)
  for (const name of ['src', 'native', 'protos', 'scripts', 'package.json', 'README.md', 'LICENSE'])
    cpSync(join(ROOT, name), join(checkout!, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(checkout!, 'node_modules'))
  const inCheckout = (command: string) =>
    runOk('sh', ['-c', `cd "${checkout}" && ${command}`], pathWith(NODE_FOLDER))
  await inCheckout('node scripts/build.mjs')
  const [tarball] = JSON.parse(await inCheckout('npm pack --json --ignore-scripts')) as [{ filename: string }]
  await mkdir(unpacked!)
  await runOk('tar', ['-xf', join(checkout!, tarball.filename), '-C', unpacked!])
  const packed = join(unpacked!, 'package')
  symlinkSync(join(ROOT, 'node_modules'), join(packed, 'node_modules'))
  await runOk(
    'npm',
    ['install', '-g', '--offline', '--ignore-scripts', '--prefix', prefix!, packed],
    pathWith(NODE_FOLDER),
  )
  return join(prefix!, 'bin')
}

/** The programs that the package has. */
export function packagePrograms(): string[] {
  return Object.keys(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).bin)
}
